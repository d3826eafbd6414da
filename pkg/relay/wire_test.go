package relay

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRequestValidate(t *testing.T) {
	for _, test := range []struct {
		request request
		problem string // empty: none
	}{
		{request{Stream: "10.0.0.1:2379", ALPN: HTTP2}, ""},
		{request{Stream: "10.0.0.1:2379", ALPN: HTTP1, ServerName: "localhost"}, ""},
		{request{Probe: "10.0.0.2:2380", Count: 1}, ""},
		{request{Probe: "10.0.0.2:2380", Count: maxProbes}, ""},
		{request{}, "either"},
		{request{Stream: "a:1", ALPN: HTTP2, Probe: "a:1", Count: 1}, "either"},
		{request{Stream: "a:1"}, "ALPN"},
		{request{Stream: "a:1", ALPN: "smtp"}, "ALPN"},
		{request{Probe: "a:1"}, "0 probes"},
		{request{Probe: "a:1", Count: maxProbes + 1}, "101 probes"},
	} {
		err := test.request.validate()
		if got := fmt.Sprint(err); (err == nil) != (test.problem == "") || !strings.Contains(got, test.problem) {
			t.Errorf("%+v: got %v, want %q", test.request, err, test.problem)
		}
	}
}

func TestMessages(t *testing.T) {
	want := reply{Error: "e", Kind: kindMember, Connects: []time.Duration{1, 2}}
	var wire bytes.Buffer
	if err := writeMessage(&wire, want); err != nil {
		t.Fatal(err)
	}
	whole := wire.Bytes()
	var got reply
	if err := readMessage(bytes.NewReader(whole), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for cut := range whole {
		if err := readMessage(bytes.NewReader(whole[:cut]), &got); err == nil {
			t.Errorf("%d bytes of %d were taken", cut, len(whole))
		}
	}
	if err := readMessage(strings.NewReader("\xff\xff{}"), &got); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long message: %v", err)
	}
	if err := writeMessage(&wire, reply{Error: strings.Repeat("x", maxMessage)}); err == nil {
		t.Error("a long message was written")
	}
}

// What an error was here it is there, with the same words.
func TestReplyKeepsTheError(t *testing.T) {
	reason := errors.New("connection refused")
	for _, err := range []error{fmt.Errorf("%w: %w", ErrMember, reason), fmt.Errorf("%w: %w", ErrTarget, reason)} {
		got := refuse(err).err()
		if got.Error() != err.Error() || !errors.Is(got, ErrMember) && !errors.Is(got, ErrTarget) || errors.Is(got, ErrMember) != errors.Is(err, ErrMember) {
			t.Errorf("%v came as %v", err, got)
		}
	}
	if got := refuse(reason).err(); got == nil || !strings.Contains(got.Error(), "connection refused") {
		t.Errorf("got %v", got)
	}
	if err := (reply{}).err(); err != nil {
		t.Errorf("a good reply: %v", err)
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("\x00\x02{}"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		var r request
		if readMessage(bytes.NewReader(wire), &r) == nil && r.validate() == nil && (r.Stream == "") == (r.Probe == "") {
			t.Errorf("%q makes %+v", wire, r)
		}
	})
}
