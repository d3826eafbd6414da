package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// MaxEnvelope is the most bytes that an envelope takes: to read one out of a store, read so
// many from the object's beginning.
const MaxEnvelope = 4096

// Envelope is the first part of a segment, which stays readable without any key. It tells
// what a writer has to know of what it wrote, and a reader before it begins.
type Envelope struct {
	Identity Identity
	// Timeline is the unbroken history that the changes are of, as the archive names it.
	Timeline string
	Writer   WriterID
	// Summary is the body's. Its Attestation is the last that the writer knew, also when
	// that is in a segment before this one.
	Summary Summary
	Body    Body
	// Before is the Digest of the envelope of the segment before this one, and so, as that
	// holds its body's SHA-256, stands for all of it; zero: not known.
	Before Digest
	// Signature is the caller's, over what Signed gives and where it is stored; empty: none.
	Signature []byte
}

// Identity tells whose changes they are. Cluster ids alone can't: two clusters may share
// one, and a restored cluster may have another than before.
type Identity struct {
	KubeSystemUID string // of the namespace kube-system; empty: not of a Kubernetes
	Cluster       ID
	Members       []ID // ascending, at least one
}

// Body is the body as it is stored, encrypted or not.
type Body struct {
	Size   int64 // bytes
	SHA256 Digest
}

const (
	envelopeMagic = "KETCDSEG"
	// envelopeHead is what stands at the same place in every version: magic, version and
	// size. A SHA-256 of all before ends every version, too.
	envelopeHead  = 16
	envelopeFixed = 212 // up to the members
	maxText       = 255
	maxMembers    = 255
)

// Validate refuses what can't be.
func (e *Envelope) Validate() error {
	for _, check := range []func() error{e.Summary.validate, e.Identity.validate, e.Body.validate} {
		if err := check(); err != nil {
			return fmt.Errorf("envelope: %w", err)
		}
	}
	if e.Timeline == "" || !plainText(e.Timeline) {
		return fmt.Errorf("envelope: timeline %q", e.Timeline)
	}
	if len(e.Signature) > maxText {
		return fmt.Errorf("envelope: signature of %d bytes", len(e.Signature))
	}
	return nil
}

func (s Summary) validate() error {
	switch {
	case s.First < 1 || s.Last < s.First:
		return fmt.Errorf("revisions %d to %d", s.First, s.Last)
	case s.Events <= int64(s.Last-s.First), s.Size < s.Events:
		return fmt.Errorf("%d events in %d bytes", s.Events, s.Size)
	case s.LastTime.Before(s.FirstTime):
		return fmt.Errorf("time goes back from %s to %s", stamp(s.FirstTime), stamp(s.LastTime))
	case s.LastChange.IsZero():
		return errors.New("no digest of the last change")
	}
	if !s.Attestation.IsZero() {
		if err := s.Attestation.Validate(); err != nil {
			return err
		}
	}
	return errors.Join(validateTime(s.FirstTime), validateTime(s.LastTime))
}

func (id Identity) validate() error {
	if !plainText(id.KubeSystemUID) {
		return fmt.Errorf("UID %q", id.KubeSystemUID)
	}
	if id.Cluster == 0 || len(id.Members) == 0 || len(id.Members) > maxMembers {
		return fmt.Errorf("cluster %s of %d members", id.Cluster, len(id.Members))
	}
	for i, member := range id.Members {
		if member == 0 || i > 0 && member <= id.Members[i-1] {
			return fmt.Errorf("members do not ascend at %s", member)
		}
	}
	return nil
}

func (b Body) validate() error {
	if b.Size < 1 || b.SHA256.IsZero() {
		return fmt.Errorf("body of %d bytes", b.Size)
	}
	return nil
}

// plainText: letters, digits and signs, no blank, in one byte each.
func plainText(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(s) <= maxText
}

// Name is that of the segment's object, before what tells of encryption.
func (e *Envelope) Name() Name {
	return Name{e.Summary.First, e.Summary.Last, e.Summary.LastTime.UTC().Truncate(time.Millisecond), e.Writer}
}

// Signed is what a signature of a valid envelope, and so of its body, is made over: the
// encoded envelope up to the signature. The signature's length is among it.
func (e *Envelope) Signed() []byte { return e.appendSigned(nil) }

// Digest stands for the whole segment in the next one's Before. The envelope must be valid.
func (e *Envelope) Digest() Digest {
	b := e.encode()
	return Digest(b[len(b)-sha256.Size:])
}

// MarshalBinary encodes a valid envelope.
func (e *Envelope) MarshalBinary() ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return e.encode(), nil
}

// encode needs a valid envelope.
func (e *Envelope) encode() []byte {
	b := append(e.appendSigned(nil), e.Signature...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// appendSigned goes field by field as docs/archive-format.md does.
func (e *Envelope) appendSigned(b []byte) []byte {
	put64 := func(values ...int64) {
		for _, v := range values {
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		}
	}
	s, hash := e.Summary, e.Summary.Attestation
	b = append(b, envelopeMagic...)
	b = binary.BigEndian.AppendUint16(b, Version)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(e.size()))
	put64(int64(s.First), int64(s.Last), s.FirstTime.UnixNano(), s.LastTime.UnixNano(), s.Events, s.Size, e.Body.Size)
	b = append(b, e.Body.SHA256[:]...)
	b = append(b, s.LastChange[:]...)
	b = append(b, e.Before[:]...)
	put64(int64(e.Identity.Cluster))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Writer))
	b = binary.BigEndian.AppendUint32(b, hash.Hash)
	put64(int64(hash.Member), int64(hash.Revision), int64(hash.CompactRevision))
	b = append(b, byte(len(e.Identity.Members)), byte(len(e.Identity.KubeSystemUID)), byte(len(e.Timeline)), byte(len(e.Signature)))
	for _, member := range e.Identity.Members {
		put64(int64(member))
	}
	return append(append(b, e.Identity.KubeSystemUID...), e.Timeline...)
}

func (e *Envelope) size() int {
	return envelopeFixed + 8*len(e.Identity.Members) + len(e.Identity.KubeSystemUID) + len(e.Timeline) + len(e.Signature) + sha256.Size
}

// ReadEnvelope reads a segment up to its body's first byte, and not a byte further. The
// error is ErrDamaged, ErrVersion or the reader's.
func ReadEnvelope(r io.Reader) (*Envelope, error) {
	e := new(Envelope)
	if err := e.read(&source{Reader: r}); err != nil {
		return nil, fmt.Errorf("read envelope: %w", err)
	}
	return e, nil
}

func (e *Envelope) read(r *source) error {
	head := make([]byte, envelopeHead)
	if err := r.fill(head); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[12:])
	if string(head[:8]) != envelopeMagic || size > MaxEnvelope || size < envelopeHead+sha256.Size {
		return damaged("it does not begin as a segment does")
	}
	b := make([]byte, size)
	copy(b, head)
	if err := r.fill(b[envelopeHead:]); err != nil {
		return err
	}
	return e.UnmarshalBinary(b)
}

// UnmarshalBinary decodes an envelope, which must be all of b.
func (e *Envelope) UnmarshalBinary(b []byte) error {
	body := len(b) - sha256.Size
	if body < envelopeHead || string(b[:8]) != envelopeMagic || uint64(len(b)) != uint64(binary.BigEndian.Uint32(b[12:])) {
		return damaged("it is no envelope")
	}
	if sha256.Sum256(b[:body]) != Digest(b[body:]) {
		return damaged("its checksum")
	}
	if err := checkVersion(binary.BigEndian.Uint16(b[8:])); err != nil {
		return err
	}
	decoded, ok := parseEnvelope(b[:body])
	if !ok {
		return damaged("its size")
	}
	if err := decoded.Validate(); err != nil {
		return damaged("%w", err)
	}
	if b[10]|b[11] != 0 {
		return damaged("what has to be 0 is not")
	}
	*e = decoded
	return nil
}

// parseEnvelope decodes what append wrote, without the checksum.
func parseEnvelope(b []byte) (e Envelope, ok bool) {
	if len(b) < envelopeFixed {
		return e, false
	}
	at64 := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[i:])) }
	e.Summary = Summary{
		First: Revision(at64(16)), Last: Revision(at64(24)),
		FirstTime: moment(at64(32)), LastTime: moment(at64(40)),
		Events: at64(48), Size: at64(56), LastChange: Digest(b[104:136]),
		Attestation: Hash{
			Hash:   binary.BigEndian.Uint32(b[180:]),
			Member: ID(at64(184)), Revision: Revision(at64(192)), CompactRevision: Revision(at64(200)),
		},
	}
	e.Body = Body{Size: at64(64), SHA256: Digest(b[72:104])}
	e.Before = Digest(b[136:168])
	e.Identity.Cluster = ID(at64(168))
	e.Writer = WriterID(binary.BigEndian.Uint32(b[176:]))
	members, uid, timeline, signature := int(b[208]), int(b[209]), int(b[210]), int(b[211])
	if len(b) != envelopeFixed+8*members+uid+timeline+signature {
		return e, false
	}
	for i := range members {
		e.Identity.Members = append(e.Identity.Members, ID(at64(envelopeFixed+8*i)))
	}
	text := b[envelopeFixed+8*members:]
	e.Identity.KubeSystemUID, e.Timeline = string(text[:uid]), string(text[uid:uid+timeline])
	e.Signature = bytes.Clone(text[uid+timeline:])
	return e, true
}
