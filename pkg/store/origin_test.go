package store

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"gocloud.dev/blob/memblob"
	"golang.org/x/crypto/ssh"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// signing is an archive of one base and one segment, in memory.
type signing struct {
	t        *testing.T
	bucket   *Bucket
	key      ed25519.PrivateKey // of its writer; nil: it does not sign
	timeline Timeline
}

func newSigning(t *testing.T, key ed25519.PrivateKey) *signing {
	t.Helper()
	bucket := &Bucket{Bucket: memblob.OpenBucket(nil), name: "mem"}
	t.Cleanup(func() { _ = bucket.Close() })
	s := &signing{t, bucket, key, Timeline{ID: NewTimelineID(noon, 1), Opened: noon, Reason: First}}
	s.write(s.archive(Keys{Signer: key}))
	return s
}

func (s *signing) archive(keys Keys) *Archive {
	return &Archive{s.bucket, ArchiveID{"cluster", "main"}, keys}
}

// write puts a base of revision 9 and a segment of 10 to 12.
func (s *signing) write(a *Archive) {
	s.t.Helper()
	content := []byte("a database")
	sum := sha256.Sum256(content)
	size, stored, err := a.PutBase(s.t.Context(), s.timeline.ID, mark, func(w io.Writer) error { _, err := w.Write(content); return err })
	err = errors.Join(err, a.OpenTimeline(s.t.Context(), s.timeline), a.CommitBase(s.t.Context(), s.timeline.ID, mark, Info{
		Last: 9, Floor: 3, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:]), StoredSize: size, StoredSHA256: stored}))
	body, summary := changes(s.t, 10, 12)
	err = errors.Join(err, a.PutSegment(s.t.Context(), s.timeline.ID, &segment.Envelope{
		Identity: segment.Identity{Cluster: 1, Members: []segment.ID{1}}, Timeline: string(s.timeline.ID), Writer: 1, Summary: summary,
		Body: segment.Body{Size: int64(len(body)), SHA256: sha256.Sum256(body)},
	}, bytes.NewReader(body)), a.PutIdle(s.t.Context(), s.timeline.ID, Mark{Revision: 12, Time: at(9), Writer: 1}))
	if err != nil {
		s.t.Fatal(err)
	}
}

// changes is a segment's body, of one put in each revision.
func changes(t *testing.T, first, last segment.Revision) ([]byte, segment.Summary) {
	t.Helper()
	var body bytes.Buffer
	e := segment.NewEncoder(&body)
	for r := first; r <= last; r++ {
		record, err := proto.Marshal(&mvccpb.KeyValue{Key: []byte("k"), CreateRevision: int64(first), ModRevision: int64(r), Version: int64(r-first) + 1})
		if err == nil {
			when := noon.Add(time.Duration(r) * time.Second)
			err = e.Encode(segment.Change{Revision: r, Lower: when, Upper: when, Events: []segment.Event{{Record: record}}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	summary, err := e.Close()
	if err != nil {
		t.Fatal(err)
	}
	return body.Bytes(), summary
}

// read reads all that a timeline holds, as who trusts these writers.
func (s *signing) read(timeline Timeline, trusted ...ed25519.PublicKey) (base, segments error) {
	s.t.Helper()
	a := s.archive(Keys{Trusted: trusted})
	c := contentsOf(s.t, a, timeline)
	if len(c.Bases) != 1 || len(c.Segments) != 1 || len(c.Damaged) != 0 {
		s.t.Fatalf("contents %+v, want a base and a segment", c)
	}
	r, base := a.OpenBase(s.t.Context(), timeline.ID, c.Bases[0])
	if base == nil {
		_, base = io.Copy(io.Discard, r)
		base = errors.Join(base, r.Close())
	}
	if stored := a.CheckStored(s.t.Context(), timeline.ID, c.Bases[0]); errors.Is(stored, ErrOrigin) != errors.Is(base, ErrOrigin) {
		s.t.Errorf("the base opens with %v, and as it is stored with %v", base, stored)
	}
	open, segments := a.OpenSegment(s.t.Context(), timeline.ID, c.Segments[0])
	for segments == nil {
		_, segments = open.Next()
	}
	if errors.Is(segments, io.EOF) {
		segments = open.Close()
	}
	_, envelope := a.Envelope(s.t.Context(), timeline.ID, c.Segments[0])
	stored := a.CheckSegment(s.t.Context(), timeline.ID, c.Segments[0])
	if errors.Is(segments, ErrOrigin) != errors.Is(envelope, ErrOrigin) || errors.Is(segments, ErrOrigin) != errors.Is(stored, ErrOrigin) {
		s.t.Errorf("the segment opens with %v, its envelope with %v, and as it is stored with %v", segments, envelope, stored)
	}
	return base, segments
}

// objects are all, by their keys.
func (s *signing) objects() map[string][]byte {
	s.t.Helper()
	names, err := s.bucket.objects(s.t.Context(), "cluster/main/"+string(s.timeline.ID)+"/")
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, o := range names {
		key := "cluster/main/" + string(s.timeline.ID) + "/" + o.name
		if all[key], err = s.bucket.ReadAll(s.t.Context(), key); err != nil {
			s.t.Fatal(err)
		}
	}
	return all
}

// change puts something else in the place of the object that ends so.
func (s *signing) change(suffix string, edit func([]byte) []byte) {
	s.t.Helper()
	for key, content := range s.objects() {
		if !strings.HasSuffix(key, suffix) {
			continue
		}
		if err := s.bucket.WriteAll(s.t.Context(), key, edit(bytes.Clone(content)), nil); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	s.t.Fatalf("no object ends in %s", suffix)
}

func newSigner(t *testing.T) (ed25519.PrivateKey, ed25519.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

func TestOrigin(t *testing.T) {
	key, public := newSigner(t)
	_, stranger := newSigner(t)
	for _, test := range []struct {
		name    string
		key     ed25519.PrivateKey
		trusted []ed25519.PublicKey
		want    error
		says    string
	}{
		{"signed and nobody asks", key, nil, nil, ""},
		{"signed", key, []ed25519.PublicKey{public}, nil, ""},
		{"signed by one of two", key, []ed25519.PublicKey{stranger, public}, nil, ""},
		{"unsigned and nobody asks", nil, nil, nil, ""},
		{"unsigned", nil, []ed25519.PublicKey{public}, ErrOrigin, "it is not signed"},
		{"signed by another", key, []ed25519.PublicKey{stranger}, ErrOrigin, WriterFingerprint(public)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSigning(t, test.key)
			for i, err := range both(s.read(s.timeline, test.trusted...)) {
				object := []string{".info", "seg-"}[i]
				if !errors.Is(err, test.want) || err != nil && (!strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), object)) {
					t.Errorf("%s: %v, want %v that says %q", object, err, test.want, test.says)
				}
			}
		})
	}
}

func both(a, b error) []error { return []error{a, b} }

// A signed object is worth nothing in another timeline, under another name, in another archive.
func TestOriginOfWhatWasMoved(t *testing.T) {
	key, public := newSigner(t)
	for _, test := range []struct {
		from, to      string // in the objects' keys
		base, segment error
	}{
		{"/main/", "/events/", ErrOrigin, ErrOrigin},
		{"cluster/", "another/", ErrOrigin, ErrOrigin},
		{"Z-00000001/", "Z-00000002/", ErrOrigin, ErrOrigin},
		{"base-0000000000000007", "base-0000000000000008", ErrOrigin, nil},
		{".kseg", ".kseg.age", nil, ErrOrigin},
	} {
		s := newSigning(t, key)
		there := s.timeline
		for key, content := range s.objects() {
			if strings.HasPrefix(test.from, "Z-") { // what stands in it is changed with it
				there.ID = NewTimelineID(noon, 2)
				content = bytes.ReplaceAll(content, []byte(s.timeline.ID), []byte(there.ID))
			}
			if strings.HasSuffix(key, ".kseg") {
				content = sealAgain(content)
			}
			err := s.bucket.Delete(t.Context(), key)
			if err = errors.Join(err, s.bucket.WriteAll(t.Context(), strings.Replace(key, test.from, test.to, 1), content, nil)); err != nil {
				t.Fatal(err)
			}
		}
		a := s.archive(Keys{Trusted: []ed25519.PublicKey{public}})
		name, etcd, _ := strings.Cut(strings.Replace("cluster/main/", test.from, test.to, 1), "/")
		a.id = ArchiveID{name, strings.TrimSuffix(etcd, "/")}
		c := contentsOf(t, a, there)
		if !errors.Is(c.Bases[0].Refused, test.base) {
			t.Errorf("%s to %s: the base: %v, want %v", test.from, test.to, c.Bases[0].Refused, test.base)
		}
		if _, err := a.Envelope(t.Context(), there.ID, c.Segments[0]); !errors.Is(err, test.segment) {
			t.Errorf("%s to %s: the segment: %v, want %v", test.from, test.to, err, test.segment)
		}
	}
}

// sealAgain makes a segment's envelope whole after a change.
func sealAgain(object []byte) []byte {
	end := int(object[14])<<8 + int(object[15]) - sha256.Size
	sum := sha256.Sum256(object[:end])
	copy(object[end:], sum[:])
	return object
}

// Who changes an object makes its checksums again.
func TestOriginOfWhatWasChanged(t *testing.T) {
	key, public := newSigner(t)
	info := func(edit func(*document)) func([]byte) []byte {
		return func(b []byte) []byte {
			d, err := decodeDocument(b, &Info{})
			if err != nil {
				t.Fatal(err)
			}
			edit(&d)
			sum := sha256.Sum256(d.Content)
			d.SHA256 = hex.EncodeToString(sum[:])
			if b, err = json.Marshal(d); err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	envelope := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at]++; return sealAgain(b) }
	}
	for name, test := range map[string]struct {
		suffix string
		edit   func([]byte) []byte
	}{
		"an .info's content":      {".info", info(func(d *document) { d.Content = bytes.Replace(d.Content, []byte(`"floor":3`), []byte(`"floor":4`), 1) })},
		"its signature":           {".info", info(func(d *document) { d.Signature[40]++ })},
		"the signature's key":     {".info", info(func(d *document) { d.Signature[3]++ })},
		"a shorter signature":     {".info", info(func(d *document) { d.Signature = d.Signature[:90] })},
		"no signature":            {".info", info(func(d *document) { d.Signature = nil })},
		"an envelope's count":     {".kseg", envelope(55)},
		"its body's sha256":       {".kseg", envelope(80)},
		"its cluster":             {".kseg", envelope(175)},
		"an envelope's signature": {".kseg", envelope(300)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSigning(t, key)
			s.change(test.suffix, test.edit)
			base, segments := s.read(s.timeline, public)
			err, other := base, segments
			if test.suffix == ".kseg" {
				err, other = segments, base
			}
			if !errors.Is(err, ErrOrigin) || other != nil {
				t.Errorf("%v and %v, want ErrOrigin and nil", err, other)
			}
		})
	}
}

// A body that was exchanged under its signed envelope is refused before a record of it is given.
func TestOriginOfABody(t *testing.T) {
	key, public := newSigner(t)
	s := newSigning(t, key)
	s.change(".kseg", func(b []byte) []byte { b[len(b)-1]++; return b })
	a := s.archive(Keys{Trusted: []ed25519.PublicKey{public}})
	c := contentsOf(t, a, s.timeline)
	if _, err := a.OpenSegment(t.Context(), s.timeline.ID, c.Segments[0]); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened: %v, want ErrDamaged", err)
	}
}

// What names alone tell is not taken from a stranger: how long nothing happened, and which
// revision was the last at a time.
func TestOriginOfNames(t *testing.T) {
	key, public := newSigner(t)
	for _, test := range []struct {
		key      ed25519.PrivateKey
		revision segment.Revision
		want     error
	}{
		{key, 7, nil}, {key, 9, nil}, {key, 12, nil},
		{nil, 7, ErrOrigin}, {nil, 8, nil}, {nil, 9, ErrOrigin}, {nil, 12, ErrOrigin}, {nil, 13, nil},
	} {
		s := newSigning(t, test.key)
		a := s.archive(Keys{Trusted: []ed25519.PublicKey{public}})
		c := contentsOf(t, a, s.timeline)
		if err := a.VouchNames(t.Context(), c, test.revision); !errors.Is(err, test.want) {
			t.Errorf("revision %d: %v, want %v", test.revision, err, test.want)
		}
		if len(c.Idle) != 0 || len(contentsOf(t, s.archive(Keys{}), s.timeline).Idle) != 1 {
			t.Errorf("notes that nothing happened: %v", c.Idle)
		}
		if err := s.archive(Keys{}).VouchNames(t.Context(), c, test.revision); err != nil {
			t.Errorf("nobody asks: %v", err)
		}
	}
}

func TestWriterKeys(t *testing.T) {
	key, public := newSigner(t)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := WriterText(public)
	several := file("several", []byte("# two\n"+text+"\n\n"+text+" a comment\n"))
	list, err := ParseWriters([]string{text, " " + text + " comment", several})
	if err != nil || len(list) != 4 {
		t.Errorf("%d writers, %v, want 4", len(list), err)
	}
	for _, one := range list {
		if !one.Equal(public) {
			t.Errorf("%q is read as %x", text, one)
		}
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("word"))
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	openssh := file("openssh", pem.EncodeToMemory(block))
	for _, path := range []string{openssh, file("pkcs8", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))} {
		if got, err := ReadSigner(path); err != nil || !got.Equal(key) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, bad := range []string{"", "ssh-ed25519 AAAA", "ssh-rsa nonsense", rsaText(t), "/no/such", openssh, file("empty", []byte("# none\n"))} {
		if _, err := ParseWriters([]string{bad}); !errors.Is(err, ErrKeys) {
			t.Errorf("trusted writer %q: %v, want ErrKeys", bad, err)
		}
	}
	for _, bad := range []string{"/no/such", several, file("locked", pem.EncodeToMemory(locked))} {
		if _, err := ReadSigner(bad); !errors.Is(err, ErrKeys) {
			t.Errorf("writer's key %s: %v, want ErrKeys", bad, err)
		}
	}
}

func rsaText(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(public))
}
