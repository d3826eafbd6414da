package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// Base is a snapshot that is whole: its .info is there.
type Base struct {
	Mark
	Sealed bool // encrypted
	Info   Info
	// Refused is why it is not read: ErrOrigin, where only trusted writers' are.
	Refused error
}

// Info is what is told of a base once it is whole.
type Info struct {
	// Last is the base's own last revision, Floor its last compaction: it holds every
	// revision after Floor, and what was live at Floor. Floor is 0 when there was none.
	Last  segment.Revision `json:"last"`
	Floor segment.Revision `json:"floor"`
	// LastChange is the digest without values of revision Last.
	LastChange segment.Digest `json:"-"`
	// AuthRevision counts the changes of etcd's users and roles, which no watch tells of.
	AuthRevision uint64 `json:"authRevision,omitempty"`
	Leases       int    `json:"leases"`
	Keys         int    `json:"keys"`

	Size   int64  `json:"size"`   // bytes, as etcd streamed it, its sha256 included
	SHA256 string `json:"sha256"` // of these

	StoredSize   int64  `json:"storedSize"` // bytes of the object
	StoredSHA256 string `json:"storedSHA256"`

	Started       time.Time `json:"started"`
	Finished      time.Time `json:"finished"`
	Member        string    `json:"member"`
	ServerVersion string    `json:"serverVersion"`
	Identity      Identity  `json:"identity"`
	LastDigest    string    `json:"lastChange"` // LastChange in hex
	WithoutQuorum bool      `json:"withoutQuorum,omitempty"`
}

// zstdWindow bounds the memory of who reads a base.
const zstdWindow = 8 << 20

func (a *Archive) baseObject(m Mark, sealed bool) string {
	return sealedName(m.name("base")+baseSuffix, sealed)
}

// PutBase stores what write gives as a base's data, under zstd and age, and tells its size
// and SHA-256 as stored. It is no base before CommitBase. An error of write leaves nothing.
func (a *Archive) PutBase(ctx context.Context, timeline TimelineID, m Mark, write func(io.Writer) error) (size int64, sum string, err error) {
	h := &counter{sum: sha256.New()}
	err = a.bucket.put(ctx, a.key(timeline, a.baseObject(m, a.keys.Encrypts())), func(w io.Writer) error {
		h.w = w
		return a.packBase(h, write)
	})
	return h.n, hex.EncodeToString(h.sum.Sum(nil)), err
}

func (a *Archive) packBase(w io.Writer, write func(io.Writer) error) error {
	sealed, err := a.keys.seal(w)
	if err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	packed, err := zstd.NewWriter(sealed, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(1<<20))
	if err != nil {
		return err
	}
	if err := write(packed); err != nil {
		packed.Reset(io.Discard)
		return errors.Join(err, packed.Close()) // Close frees what the encoder holds
	}
	return errors.Join(packed.Close(), sealed.Close())
}

// counter counts and hashes what goes through.
type counter struct {
	w   io.Writer
	n   int64
	sum hash.Hash
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	return n, err
}

// CommitBase makes a base of data that is stored: its .info appears, signed if there is a key.
func (a *Archive) CommitBase(ctx context.Context, timeline TimelineID, m Mark, info Info) error {
	info.LastDigest = info.LastChange.String()
	object := m.name("base") + infoSuffix
	return a.putDocument(ctx, timeline, object, info, func(content []byte) []byte { return a.sign(a.key(timeline, object), content) })
}

// readInfo reads what makes a base of data, and asks whose it is.
func (a *Archive) readInfo(ctx context.Context, timeline TimelineID, m Mark) (Base, error) {
	b := Base{Mark: m}
	object, info := m.name("base")+infoSuffix, &b.Info
	d, err := a.getDocument(ctx, timeline, object, info)
	if err != nil {
		return b, err
	}
	key := a.key(timeline, object)
	digest, err := hex.DecodeString(info.LastDigest)
	if err != nil || len(digest) != len(info.LastChange) || info.Last < m.Revision || info.Floor > info.Last {
		return b, fmt.Errorf("read %s: %w", key, damaged("what it tells can't be"))
	}
	copy(info.LastChange[:], digest)
	b.Refused = a.vouch(key, d.Content, d.Signature)
	return b, nil
}

// OpenBase reads a base as etcd streamed it. Its end comes as io.EOF only when size and
// hashes are those of .info, else as ErrDamaged. Errors are ErrOrigin, ErrSealed,
// ErrDamaged, ErrNotFound and the store's.
func (a *Archive) OpenBase(ctx context.Context, timeline TimelineID, b Base) (io.ReadCloser, error) {
	if b.Refused != nil {
		return nil, b.Refused
	}
	object := a.baseObject(b.Mark, b.Sealed)
	r, err := a.bucket.open(ctx, a.key(timeline, object), -1)
	if err != nil {
		return nil, err
	}
	reader := &baseReader{object: a.key(timeline, object), info: b.Info, raw: r, stored: &tally{r: r, sum: sha256.New()}, sum: sha256.New()}
	plain, err := a.keys.unseal(reader.stored, b.Sealed)
	if err == nil {
		reader.zstd, err = zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
	}
	if err != nil {
		return nil, joinClose(fmt.Errorf("open %s: %w", reader.object, err), r, object)
	}
	return reader, nil
}

// baseReader unpacks, and checks at the end.
type baseReader struct {
	object string
	info   Info
	raw    io.Closer
	stored *tally
	zstd   *zstd.Decoder
	n      int64
	sum    hash.Hash
	err    error
}

func (r *baseReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.zstd.Read(p)
	r.n += int64(n)
	r.sum.Write(p[:n])
	if err != nil {
		r.err = r.end(err)
	}
	return n, r.err
}

// end is what a read ends with: what zstd and age say of bytes is damage, unless it is the
// store that did not give them.
func (r *baseReader) end(err error) error {
	switch {
	case r.stored.err != nil:
		return fmt.Errorf("get %s: %w", r.object, r.stored.err)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read %s: %w", r.object, damaged("%w", err))
	case r.n != r.info.Size || hex.EncodeToString(r.sum.Sum(nil)) != r.info.SHA256:
		return fmt.Errorf("read %s: %w", r.object, damaged("it is not what its .info tells"))
	}
	if _, err := io.Copy(io.Discard, r.stored); err != nil {
		return fmt.Errorf("get %s: %w", r.object, err)
	}
	if r.stored.n != r.info.StoredSize || hex.EncodeToString(r.stored.sum.Sum(nil)) != r.info.StoredSHA256 {
		return fmt.Errorf("read %s: %w", r.object, damaged("it is not what its .info tells"))
	}
	return io.EOF
}

func (r *baseReader) Close() error {
	r.zstd.Close()
	return r.raw.Close()
}

// tally counts and hashes what is read, and remembers the store's own error.
type tally struct {
	r   io.Reader
	n   int64
	sum hash.Hash
	err error
}

func (t *tally) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	t.sum.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = err
	}
	return n, err
}

// CheckStored reads a base's object as it is stored, without opening it, and compares it
// with its .info: what can be verified without an identity.
func (a *Archive) CheckStored(ctx context.Context, timeline TimelineID, b Base) (err error) {
	if b.Refused != nil {
		return b.Refused
	}
	object := a.key(timeline, a.baseObject(b.Mark, b.Sealed))
	r, err := a.bucket.open(ctx, object, -1)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, r, object) }()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return fmt.Errorf("get %s: %w", object, err)
	}
	if n != b.Info.StoredSize || hex.EncodeToString(h.Sum(nil)) != b.Info.StoredSHA256 {
		return fmt.Errorf("read %s: %w", object, damaged("it is not what its .info tells"))
	}
	return nil
}

// CopyBase copies a base's data, which is none yet, to another timeline.
func (a *Archive) CopyBase(ctx context.Context, from, to TimelineID, m Mark) error {
	object := a.baseObject(m, a.keys.Encrypts())
	if err := a.bucket.Copy(ctx, a.key(to, object), a.key(from, object), &blob.CopyOptions{BeforeCopy: ownerOnly}); err != nil {
		return fmt.Errorf("copy %s to timeline %s: %w", object, to, err)
	}
	return a.bucket.sync(a.key(to, object))
}
