package segment

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func smallEnvelope(t testing.TB) (*Envelope, []byte) {
	t.Helper()
	body, summary := smallSpec().encode(t)
	return envelope(body, summary), body
}

// Reading stops where the body begins, and one small read is enough.
func TestReadEnvelope(t *testing.T) {
	e, body := smallEnvelope(t)
	encoded, err := e.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(append(encoded, body...))
	got, err := ReadEnvelope(iotest.OneByteReader(r))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if rest, _ := io.ReadAll(r); !bytes.Equal(rest, body) {
		t.Errorf("%d bytes are left, not the body's %d", len(rest), len(body))
	}
	if got.Digest() != e.Digest() || e.Digest() != Digest(encoded[len(encoded)-32:]) {
		t.Errorf("Digest = %s and %s", got.Digest(), e.Digest())
	}
	if !bytes.HasPrefix(encoded, e.Signed()) || len(encoded) != len(e.Signed())+len(e.Signature)+32 {
		t.Errorf("Signed is not what stands before the signature")
	}
}

// The largest envelope there is fits into the read that is promised to be enough.
func TestMaxEnvelope(t *testing.T) {
	e, _ := smallEnvelope(t)
	e.Identity.Members = nil
	for i := range maxMembers {
		e.Identity.Members = append(e.Identity.Members, ID(i+1))
	}
	e.Identity.KubeSystemUID, e.Timeline = strings.Repeat("u", maxText), strings.Repeat("t", maxText)
	e.Signature = make([]byte, maxText)
	encoded, err := e.MarshalBinary()
	if err != nil || len(encoded) > MaxEnvelope {
		t.Fatalf("%d bytes: %v", len(encoded), err)
	}
	got, err := ReadEnvelope(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEnvelopeRefuses(t *testing.T) {
	for name, change := range map[string]func(e *Envelope){
		"no revision":     func(e *Envelope) { e.Summary.First = 0 },
		"upside down":     func(e *Envelope) { e.Summary.Last = 41 },
		"no time":         func(e *Envelope) { e.Summary.FirstTime = at(0).AddDate(-3000, 0, 0) },
		"time back":       func(e *Envelope) { e.Summary.LastTime = at(0) },
		"too few events":  func(e *Envelope) { e.Summary.Events = 2 },
		"too few bytes":   func(e *Envelope) { e.Summary.Size = 2 },
		"no last change":  func(e *Envelope) { e.Summary.LastChange = Digest{} },
		"attestation":     func(e *Envelope) { e.Summary.Attestation.Member = 0 },
		"no cluster":      func(e *Envelope) { e.Identity.Cluster = 0 },
		"no member":       func(e *Envelope) { e.Identity.Members = nil },
		"a member twice":  func(e *Envelope) { e.Identity.Members = []ID{5, 5} },
		"member 0":        func(e *Envelope) { e.Identity.Members = []ID{0, 5} },
		"members":         func(e *Envelope) { e.Identity.Members = make([]ID, 256) },
		"control sign":    func(e *Envelope) { e.Identity.KubeSystemUID = "a\x1b[2J" },
		"no timeline":     func(e *Envelope) { e.Timeline = "" },
		"timeline":        func(e *Envelope) { e.Timeline = "a b" },
		"long timeline":   func(e *Envelope) { e.Timeline = strings.Repeat("t", 256) },
		"empty body":      func(e *Envelope) { e.Body.Size = 0 },
		"no body":         func(e *Envelope) { e.Body.SHA256 = Digest{} },
		"large signature": func(e *Envelope) { e.Signature = make([]byte, 256) },
	} {
		e, _ := smallEnvelope(t)
		change(e)
		if _, err := e.MarshalBinary(); err == nil {
			t.Errorf("%s: it was encoded", name)
		}
		if len(e.Signature) > maxText || len(e.Timeline) > maxText || len(e.Identity.Members) > maxMembers {
			continue // there is no such encoding
		}
		if _, err := ReadEnvelope(bytes.NewReader(e.encode())); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: ReadEnvelope = %v", name, err)
		}
	}
}

// What the envelope tells of the body is compared with the body.
func TestEnvelopeCheck(t *testing.T) {
	e, body := smallEnvelope(t)
	_, read, err := readAll(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Check(read); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(s *Summary){
		"first":       func(s *Summary) { s.First-- },
		"last":        func(s *Summary) { s.Last++ },
		"first time":  func(s *Summary) { s.FirstTime = at(9) },
		"last time":   func(s *Summary) { s.LastTime = at(99) },
		"events":      func(s *Summary) { s.Events++ },
		"size":        func(s *Summary) { s.Size++ },
		"last change": func(s *Summary) { s.LastChange[0]++ },
		"attestation": func(s *Summary) { s.Attestation.Hash++ },
	} {
		other := *e
		change(&other.Summary)
		if err := other.Check(read); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: Check = %v", name, err)
		}
	}
	// A body without one: the attestation is of a segment before.
	body, summary := spec{change(42, 10, put("a", "1"))}.encode(t)
	e = envelope(body, summary)
	e.Summary.Attestation = Hash{Member: 1, Revision: 40, CompactRevision: 30, Hash: 1}
	if err := e.Check(summary); err != nil {
		t.Error(err)
	}
}

// The stored body, which may be encrypted, is checked as it is read.
func TestCheckBody(t *testing.T) {
	e, _ := smallEnvelope(t)
	stored := []byte("age-encryption.org/v1 and so on")
	e.Body = Body{int64(len(stored)), digestOf(stored)}
	for name, test := range map[string]struct {
		stored string
		want   error
	}{
		"whole":    {string(stored), nil},
		"short":    {string(stored[:10]), io.ErrUnexpectedEOF},
		"empty":    {"", io.ErrUnexpectedEOF},
		"long":     {string(stored) + "x", ErrDamaged},
		"one flip": {"b" + string(stored[1:]), ErrDamaged},
	} {
		for _, r := range []io.Reader{
			strings.NewReader(test.stored), iotest.OneByteReader(strings.NewReader(test.stored)), iotest.DataErrReader(strings.NewReader(test.stored)),
		} {
			got, err := io.ReadAll(e.CheckBody(r))
			if !errors.Is(err, test.want) || err == nil && !bytes.Equal(got, stored) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			if err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %v is not damage", name, err)
			}
		}
	}
}
