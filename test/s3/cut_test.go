//go:build unix

package s3

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCutBody(t *testing.T) {
	for _, test := range []struct {
		body, read string
		err        error
	}{
		{"", "", nil},
		{"12", "12", nil},
		{"123", "123", nil},
		{"1234", "123", errCut},
		{"123456789", "123", errCut},
	} {
		for way, r := range map[string]io.Reader{
			"whole": strings.NewReader(test.body), "bytewise": iotest.OneByteReader(strings.NewReader(test.body)),
			"with its end": iotest.DataErrReader(strings.NewReader(test.body)),
		} {
			got, err := io.ReadAll(&cutBody{body: io.NopCloser(r), left: 3})
			if string(got) != test.read || !errors.Is(err, test.err) {
				t.Errorf("%q, %s: read %q, %v; want %q, %v", test.body, way, got, err, test.read, test.err)
			}
		}
	}
}
