package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/s3blob" // s3://
	"gocloud.dev/gcerrors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/durable"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/gcs"
)

// Bucket is a place for archives: a folder, or a bucket of an object store.
type Bucket struct {
	*blob.Bucket
	name string // without secrets
	dir  string // of a folder; else empty
}

func (b *Bucket) String() string { return b.name }

// OpenBucket opens a folder's path, s3://BUCKET/PREFIX, gs://… or azblob://…, with the
// options that gocloud.dev/blob documents behind a "?". A folder is made if create is set
// and it is not there. Nothing is asked of an object store yet. Errors are ErrLocation,
// ErrNotFound and the system's.
func OpenBucket(ctx context.Context, location string, create bool) (*Bucket, error) {
	u, err := url.Parse(location)
	switch {
	case location == "":
		return nil, fmt.Errorf("%w: none is named", ErrLocation)
	case err == nil && u.Scheme == "file" && u.Host == "" && u.Path != "":
		return openFolder(u.Path, create)
	case err != nil || len(u.Scheme) < 2: // C:\archive is a folder
		return openFolder(location, create)
	case u.Scheme != "s3" && u.Scheme != gcs.Scheme && u.Scheme != "azblob":
		return nil, fmt.Errorf("%w %q: want a folder, s3://, gs:// or azblob://", ErrLocation, redacted(u))
	case u.Host == "":
		return nil, fmt.Errorf("%w %q: it names no bucket", ErrLocation, redacted(u))
	}
	return openObjects(ctx, u)
}

// openFolder keeps to what a rename makes atomic: temporary files beside their target, and
// one file for each object.
func openFolder(dir string, create bool) (*Bucket, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrLocation, dir, err)
	}
	if create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the archive's folder: %w", err)
		}
	}
	switch info, err := os.Stat(dir); {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("folder %s: %w", dir, ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("look at the archive's folder: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("%w: %s is no folder", ErrLocation, dir)
	}
	b, err := fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700})
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrLocation, dir, err)
	}
	return &Bucket{Bucket: b, name: dir, dir: dir}, nil
}

func openObjects(ctx context.Context, u *url.URL) (*Bucket, error) {
	opened := *u
	prefix := strings.Trim(u.Path, "/")
	query := u.Query()
	if u.Scheme == "s3" && query.Get("region") == "" && os.Getenv("AWS_REGION") == "" && query.Get("endpoint") != "" {
		query.Set("region", "us-east-1") // what S3's own signature wants and no other server looks at
	}
	if u.Scheme == "s3" && query.Get("response_checksum_validation") == "" {
		// Every object has checksums of its own; the SDK would say on stderr where it can't
		// check S3's, as of what came in parts.
		query.Set("response_checksum_validation", "when_required")
	}
	opened.Path, opened.RawQuery = "", query.Encode()
	b, err := openScheme(ctx, &opened)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrLocation, redacted(u), err)
	}
	if prefix != "" {
		b = blob.PrefixedBucket(b, prefix+"/")
	}
	return &Bucket{Bucket: b, name: redacted(u)}, nil
}

func openScheme(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	if u.Scheme == gcs.Scheme {
		return gcs.Open(ctx, u)
	}
	return blob.OpenBucket(ctx, u.String())
}

// redacted is what may be shown of a location: what stands behind the "?" may be secret.
func redacted(u *url.URL) string {
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.Path, "/")
}

// put makes an object that was not there, whole or not at all: an error of write cancels
// the writer before it is closed, which would otherwise leave what came so far. Errors are
// ErrExists, write's and the store's.
func (b *Bucket) put(ctx context.Context, key string, write func(io.Writer) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := b.NewWriter(ctx, key, &blob.WriterOptions{
		IfNotExist: true, ContentType: "application/octet-stream", MaxConcurrency: 2, BeforeWrite: ownerOnly,
	})
	if err != nil {
		return b.putError(key, err)
	}
	if err := write(w); err != nil {
		cancel()
		_ = w.Close() // it says that it was cancelled
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := w.Close(); err != nil {
		return b.putError(key, err)
	}
	return b.sync(key)
}

func (b *Bucket) putError(key string, err error) error {
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		err = ErrExists
	}
	return fmt.Errorf("put %s: %w", key, err)
}

// ownerOnly is for the files of a folder, before the first byte is in them.
func ownerOnly(as func(any) bool) error {
	var file *os.File
	if as(&file) {
		return file.Chmod(0o600)
	}
	return nil
}

// sync puts an object of a folder on its disk. Object stores have done so when they answer.
func (b *Bucket) sync(key string) error {
	if b.dir == "" {
		return nil
	}
	path := filepath.Join(b.dir, filepath.FromSlash(key))
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if err := durable.SyncDir(dir); err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
		if dir == b.dir || len(dir) <= len(b.dir) {
			return nil
		}
	}
}

// open reads an object from its beginning; length -1 is all of it.
func (b *Bucket) open(ctx context.Context, key string, length int64) (io.ReadCloser, error) {
	r, err := b.NewRangeReader(ctx, key, 0, length, nil)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, notFound(err))
	}
	return r, nil
}

func notFound(err error) error {
	if gcerrors.Code(err) == gcerrors.NotFound && !unseen(err) {
		return ErrNotFound
	}
	return err
}

// unseen are errors that gocloud.dev takes for Azure's "not found", and nobody has looked:
// there is no such host.
func unseen(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns)
}

// folders are the folders directly in a folder (ends in "/", or empty).
func (b *Bucket) folders(ctx context.Context, folder string) (names []string, err error) {
	err = b.list(ctx, folder, func(o *blob.ListObject) {
		if o.IsDir {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(o.Key, folder), "/"))
		}
	})
	return names, err
}

// objects are those directly in a folder.
func (b *Bucket) objects(ctx context.Context, folder string) (list []stored, err error) {
	err = b.list(ctx, folder, func(o *blob.ListObject) {
		if !o.IsDir {
			list = append(list, stored{strings.TrimPrefix(o.Key, folder), o.Size, o.ModTime})
		}
	})
	return list, err
}

func (b *Bucket) list(ctx context.Context, folder string, each func(*blob.ListObject)) error {
	it := b.List(&blob.ListOptions{Prefix: folder, Delimiter: "/"})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", b.name+"/"+folder, notFound(err))
		}
		each(o)
	}
}
