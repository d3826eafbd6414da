package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/test/gcs"
	"github.com/kubectl-etcd/kubectl-etcd/test/s3"
)

// TestContract holds every kind of bucket to the same.
func TestContract(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		contract(t, &Bucket{Bucket: memblob.OpenBucket(nil), name: "mem"})
	})
	t.Run("folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		bucket, err := OpenBucket(t.Context(), dir, true)
		if err != nil {
			t.Fatal(err)
		}
		contract(t, bucket)
		err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := os.Stat(path)
			if want := map[bool]os.FileMode{false: 0o600, true: 0o700}[d.IsDir()]; err != nil || info.Mode().Perm() != want {
				t.Errorf("%s has the mode %s, %v", path, info.Mode(), err)
			}
			if strings.Contains(path, ".attrs") || strings.Contains(path, "fileblob") {
				t.Errorf("%s was left", path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Run("S3", func(t *testing.T) { contractOfServer(t, s3.Start(t)) })
	t.Run("GCS", func(t *testing.T) { contractOfServer(t, gcs.Start(t)) })
}

// server is a store that a test has started.
type server interface {
	Login(t testing.TB)
	URL(prefix string) string
}

func contractOfServer(t *testing.T, s server) {
	s.Login(t)
	bucket, err := OpenBucket(t.Context(), s.URL("some/prefix"), true)
	if err != nil {
		t.Fatal(err)
	}
	contract(t, bucket)
}

var mark = Mark{Revision: 7, Time: noon, Writer: 0xabcd}

func contract(t *testing.T, bucket *Bucket) {
	t.Cleanup(func() { _ = bucket.Close() })
	ctx := t.Context()
	one, two, stranger := newIdentity(t), newIdentity(t), newIdentity(t)
	a := &Archive{bucket, ArchiveID{"cluster", "main"}, Keys{Recipients: []age.Recipient{one.Recipient(), two.Recipient()}, Identities: []age.Identity{two}}}
	if list, err := a.Timelines(ctx); err != nil || len(list) != 0 {
		t.Fatalf("of nothing there are the timelines %v, %v", list, err)
	}
	timeline := Timeline{ID: NewTimelineID(noon, 1), Opened: noon, Reason: First}
	if err := a.OpenTimeline(ctx, timeline); err != nil {
		t.Fatal(err)
	}
	if err := a.OpenTimeline(ctx, timeline); !errors.Is(err, ErrExists) {
		t.Errorf("opened twice: %v, want ErrExists", err)
	}
	content := bytes.Repeat([]byte("a database "), 1<<20) // several parts of an upload
	sum := sha256.Sum256(content)
	size, stored, err := a.PutBase(ctx, timeline.ID, mark, func(w io.Writer) error { _, err := w.Write(content); return err })
	if err != nil {
		t.Fatal(err)
	}
	if c := contentsOf(t, a, timeline); len(c.Bases) != 0 || len(c.Begun) != 1 {
		t.Errorf("a base counts without its .info: %+v", c)
	}
	info := Info{Last: 9, Floor: 3, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:]), StoredSize: size, StoredSHA256: stored}
	if err := a.CommitBase(ctx, timeline.ID, mark, info); err != nil {
		t.Fatal(err)
	}
	c := contentsOf(t, a, timeline)
	if len(c.Bases) != 1 || len(c.Strange) != 0 || len(c.Damaged) != 0 {
		t.Fatalf("contents %+v, want one base", c)
	}
	readBack(t, a, timeline, c.Bases[0], content)
	a.keys.Identities = []age.Identity{stranger}
	if _, err := a.OpenBase(ctx, timeline.ID, c.Bases[0]); !errors.Is(err, ErrSealed) {
		t.Errorf("a stranger opens it: %v", err)
	}
	if err := a.CheckStored(ctx, timeline.ID, c.Bases[0]); err != nil {
		t.Errorf("as stored: %v", err)
	}
	brokenPuts(t, a, timeline)
	if list, err := Archives(ctx, bucket); err != nil || len(list) != 1 || list[0] != a.id {
		t.Errorf("archives %v, %v", list, err)
	}
	if err := a.PutIdle(ctx, timeline.ID, mark); err != nil {
		t.Error(err)
	}
	if err := errors.Join(a.NoteVerified(ctx, timeline.ID, Verified{Last: 1}), a.NoteVerified(ctx, timeline.ID, Verified{Last: 2})); err != nil {
		t.Error(err)
	}
	if v, err := a.LastVerified(ctx, timeline.ID); err != nil || v.Last != 2 {
		t.Errorf("verified %+v, %v", v, err)
	}
	pruneAll(t, a, timeline)
	for _, size := range []int{1000, 17 << 20} { // as one request, and in parts
		t.Run(fmt.Sprintf("object of %d bytes", size), func(t *testing.T) { objectOf(t, bucket, size) })
	}
	t.Run("pages", func(t *testing.T) { pages(t, bucket) })
}

// objectOf holds the bucket to what the archive asks of it for one object.
func objectOf(t *testing.T, bucket *Bucket, size int) {
	key := fmt.Sprintf("object/%d", size)
	content := bytes.Repeat([]byte("a"), size)
	write := func(w io.Writer) error { _, err := w.Write(content); return err }
	if err := bucket.put(t.Context(), key, write); err != nil {
		t.Fatal(err)
	}
	err := bucket.put(t.Context(), key, func(w io.Writer) error { _, err := w.Write(bytes.Repeat([]byte("b"), size)); return err })
	if !errors.Is(err, ErrExists) {
		t.Errorf("put twice: %v, want ErrExists", err)
	}
	for length, want := range map[int64]int{-1: size, 1: 1, 10: 10, int64(size) + 10: size} {
		if got, err := first(t.Context(), bucket, key, length); err != nil || !bytes.Equal(got, content[:want]) {
			t.Errorf("the first %d bytes: read %d, %v, want %d of the first put", length, len(got), err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = bucket.put(ctx, key+".cancelled", func(w io.Writer) error { err := write(w); cancel(); return errors.Join(err, ctx.Err()) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if list, err := bucket.objects(t.Context(), "object/"); err != nil || len(list) != 1 || list[0].size != int64(size) {
		t.Errorf("objects %v, %v, want the one that was put", list, err)
	}
	if err := bucket.Delete(t.Context(), key); err != nil {
		t.Error(err)
	}
	if err := notFound(bucket.Delete(t.Context(), key)); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted twice: %v, want ErrNotFound", err)
	}
	if _, err := first(t.Context(), bucket, key, -1); !errors.Is(err, ErrNotFound) {
		t.Errorf("read what is deleted: %v, want ErrNotFound", err)
	}
}

func first(ctx context.Context, bucket *Bucket, key string, length int64) ([]byte, error) {
	r, err := bucket.open(ctx, key, length)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(r)
	return got, errors.Join(err, r.Close())
}

// pages lists more than a server gives at once.
func pages(t *testing.T, bucket *Bucket) {
	const many = 1001
	var group errgroup.Group
	group.SetLimit(8)
	for i := range many {
		group.Go(func() error {
			return bucket.WriteAll(t.Context(), fmt.Sprintf("pages/of/%04d", i), []byte("x"), &blob.WriterOptions{BeforeWrite: ownerOnly})
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	list, err := bucket.objects(t.Context(), "pages/of/")
	for _, o := range list {
		names[o.name] = true
	}
	if err != nil || len(list) != many || len(names) != many {
		t.Errorf("%d objects, %d names, %v, want %d", len(list), len(names), err, many)
	}
	if folders, err := bucket.folders(t.Context(), "pages/"); err != nil || !slices.Equal(folders, []string{"of"}) {
		t.Errorf("folders %v, %v", folders, err)
	}
}

func readBack(t *testing.T, a *Archive, timeline Timeline, b Base, content []byte) {
	t.Helper()
	r, err := a.OpenBase(t.Context(), timeline.ID, b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v, want %d", len(got), err, len(content))
	}
	b.Info.SHA256 = strings.Repeat("0", 64)
	if r, err = a.OpenBase(t.Context(), timeline.ID, b); err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadAll(r); !errors.Is(err, ErrDamaged) {
		t.Errorf("with another sha256: %v, want ErrDamaged", err)
	}
	_ = r.Close()
}

// brokenPuts: an upload that breaks off, by its source or its context, leaves nothing.
func brokenPuts(t *testing.T, a *Archive, timeline Timeline) {
	t.Helper()
	other := Mark{Revision: 8, Time: noon, Writer: 1}
	broken := errors.New("the source broke")
	_, _, err := a.PutBase(t.Context(), timeline.ID, other, func(w io.Writer) error {
		_, err := w.Write(bytes.Repeat([]byte("x"), 100<<10))
		return errors.Join(err, broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("a source that breaks: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err = a.PutBase(ctx, timeline.ID, other, func(w io.Writer) error { cancel(); return ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a put that is cancelled: %v", err)
	}
	if c := contentsOf(t, a, timeline); len(c.Begun) != 0 {
		t.Errorf("left are %v", c.Uncommitted)
	}
}

// pruneAll takes the base out, and what is gone is noted.
func pruneAll(t *testing.T, a *Archive, timeline Timeline) {
	t.Helper()
	c := contentsOf(t, a, timeline)
	p := &Pruning{Timeline: timeline.ID, Bases: c.Bases, Names: []string{"x"}, Holes: []Hole{{First: 3, Last: 9, At: noon}}}
	for range 2 { // what is gone already is no error
		if err := a.Prune(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if c = contentsOf(t, a, timeline); len(c.Bases) != 0 || len(c.Begun) != 0 || len(c.Pruned) != 1 {
		t.Errorf("after a pruning there is %+v", c)
	}
}

func contentsOf(t *testing.T, a *Archive, timeline Timeline) *Contents {
	t.Helper()
	c, err := a.Contents(t.Context(), timeline)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newIdentity(t *testing.T) *age.X25519Identity {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

func TestLocations(t *testing.T) {
	for location, want := range map[string]error{
		"": ErrLocation, "ftp://x/y": ErrLocation, "s3:///prefix": ErrLocation, "/no/such/folder": ErrNotFound, "/dev/null": ErrLocation,
	} {
		if _, err := OpenBucket(t.Context(), location, false); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", location, err, want)
		}
	}
	_, err := OpenBucket(t.Context(), "ftp://user:secret@host/y?key=secret", false)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows what may be secret: %v", err)
	}
}

func TestKeys(t *testing.T) {
	identity := newIdentity(t)
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	sshKey, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	ssh := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshKey)))
	list, err := ParseRecipients([]string{identity.Recipient().String(), ssh, file("several", "# two\n"+identity.Recipient().String()+"\n"+ssh+"\n")})
	if err != nil || len(list) != 4 {
		t.Errorf("%d recipients, %v, want 4", len(list), err)
	}
	for _, bad := range []string{"", "age1xyz", identity.String(), "ssh-rsa nonsense", "/no/such", file("empty", "# none\n"), file("secret", identity.String())} {
		if _, err := ParseRecipients([]string{bad}); !errors.Is(err, ErrKeys) {
			t.Errorf("recipient %q: %v, want ErrKeys", bad, err)
		}
	}
	if ids, err := ReadIdentities([]string{file("id", "# a key\n"+identity.String()+"\n")}, nil); err != nil || len(ids) != 1 {
		t.Errorf("identities %v, %v", ids, err)
	}
	locked := &bytes.Buffer{}
	scrypt, err := age.NewScryptRecipient("open sesame")
	if err != nil {
		t.Fatal(err)
	}
	scrypt.SetWorkFactor(10)
	w, err := age.Encrypt(locked, scrypt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(w, identity); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := file("locked", locked.String())
	if ids, err := ReadIdentities([]string{path}, func(string) (string, error) { return "open sesame", nil }); err != nil || len(ids) != 1 {
		t.Errorf("with a passphrase: %v, %v", ids, err)
	}
	for _, ask := range []func(string) (string, error){nil, func(string) (string, error) { return "wrong", nil }} {
		if _, err := ReadIdentities([]string{path}, ask); !errors.Is(err, ErrKeys) {
			t.Errorf("without the passphrase: %v, want ErrKeys", err)
		}
	}
}

func TestNames(t *testing.T) {
	if got, ok := parseMark(basePattern, mark.name("base")); !ok || got != mark {
		t.Errorf("%v, %v, want %v", got, ok, mark)
	}
	for _, bad := range []string{"base-0", "base-ffffffffffffffff-20260725T120000.000Z-0000abcd", "base-0000000000000000-20260725T120000.000Z-0000abcd", "base-0000000000000007-20261325T120000.000Z-0000abcd"} {
		if got, ok := parseMark(basePattern, bad); ok {
			t.Errorf("%s is taken for %v", bad, got)
		}
	}
	for _, bad := range []string{"", "..", "a/b", "-x", strings.Repeat("x", 200)} {
		if (ArchiveID{bad, "main"}).Validate() == nil {
			t.Errorf("the name %q is taken", bad)
		}
	}
	one := segment.Identity{KubeSystemUID: "a", Cluster: 1, Members: []segment.ID{1}}
	for _, test := range []struct {
		other segment.Identity
		same  bool
	}{
		{segment.Identity{KubeSystemUID: "a", Cluster: 2}, true}, {segment.Identity{KubeSystemUID: "b", Cluster: 1}, false},
		{segment.Identity{Cluster: 1}, true}, {segment.Identity{Cluster: 2}, false},
	} {
		if err := SameCluster(one, test.other); (err == nil) != test.same {
			t.Errorf("%+v: %v, want the same: %v", test.other, err, test.same)
		}
	}
	if got := NewIdentity(one).Segment(); got.Cluster != 1 || got.KubeSystemUID != "a" || len(got.Members) != 1 {
		t.Errorf("an identity comes back as %+v", got)
	}
}

func TestDocument(t *testing.T) {
	b, err := encodeDocument(Timeline{ID: "x", Opened: noon}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got Timeline
	if _, err := decodeDocument(b, &got); err != nil || got.ID != "x" {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range bytes.TrimRight(b, "\n") {
		flipped := bytes.Clone(b)
		flipped[i] ^= 4
		if _, err := decodeDocument(flipped, &got); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d flipped: %v, want ErrDamaged", i, err)
		}
	}
	for n := range len(b) - 1 {
		if _, err := decodeDocument(b[:n], &got); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := decodeDocument(append(b, "{}"...), &got); !errors.Is(err, ErrDamaged) {
		t.Errorf("with more behind: %v", err)
	}
}
