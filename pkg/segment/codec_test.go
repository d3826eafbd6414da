package segment

import (
	"bytes"
	"testing"
	"testing/iotest"
)

// What goes in comes out, in order, and both ends say the same of it.
func TestRoundTrip(t *testing.T) {
	want := sample()
	body, told := want.encode(t)
	records, read, err := readAll(iotest.OneByteReader(bytes.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, want, records)
	if told != read {
		t.Errorf("the encoder tells %+v, the decoder %+v", told, read)
	}
	if r, err := NewReader(bytes.NewReader(body), int64(len(body))); err != nil || len(r.index) != 3 {
		t.Errorf("NewReader = %+v, %v", r, err)
	}
}
