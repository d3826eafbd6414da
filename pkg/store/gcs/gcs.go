// Package gcs is a bucket of Google Cloud Storage for gocloud.dev/blob, over the JSON API.
// It takes the place of gocloud.dev's own, whose client brings a second way, over gRPC, that
// would be a fifth of the whole binary.
//
// Its one idea: a request is tried again for as long as that changes nothing, and an object
// comes to be with the last request of its writer or not at all.
package gcs

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"
)

// Scheme is that of the URLs that Open takes.
const Scheme = "gs"

var (
	// errAnswer: it is not what the API promises, and would be no better for asking again.
	errAnswer = errors.New("the server's answer is strange")
	// errReplaced: what is there now is not what the reading began with.
	errReplaced = errors.New("it was deleted or replaced while it was read")
	// errNoKey: an object has a name.
	errNoKey = errors.New("gcs: the key is empty")
	// errNoSigning: nobody here hands out URLs that others may read.
	errNoSigning = errors.New("gcs: signed URLs are not made")
)

// bucket is a driver.Bucket.
type bucket struct {
	*client
	name string
}

// Open opens gs://BUCKET. It asks nothing of the bucket yet. The query may hold what
// gocloud.dev documents: anonymous=true or access_id=- for no credentials, and
// universe_domain. STORAGE_EMULATOR_HOST, HOST:PORT or a URL, is asked instead of Google.
func Open(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	b, err := open(ctx, u)
	if err != nil {
		return nil, err
	}
	return blob.NewBucket(b), nil
}

func open(ctx context.Context, u *url.URL) (*bucket, error) {
	c, err := newClient(ctx, u.Query())
	if err != nil {
		return nil, err
	}
	return &bucket{client: c, name: u.Host}, nil
}

// objects is the URL of the bucket's objects, below one of the API's two roots.
func (b *bucket) objects(root string) string {
	return b.base + root + "/storage/v1/b/" + url.PathEscape(b.name) + "/o"
}

func (b *bucket) object(key string) string { return b.objects("") + "/" + url.PathEscape(key) }

// ErrorCode is gocloud.dev's word for an error. Its own driver says "not found" of what
// Google forbids.
func (b *bucket) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, errNoSigning):
		return gcerrors.Unimplemented
	case errors.Is(err, errNoKey):
		return gcerrors.InvalidArgument
	case errors.Is(err, errReplaced):
		return gcerrors.FailedPrecondition
	}
	switch statusOf(err) {
	case http.StatusBadRequest:
		return gcerrors.InvalidArgument
	case http.StatusUnauthorized, http.StatusForbidden:
		return gcerrors.PermissionDenied
	case http.StatusNotFound:
		return gcerrors.NotFound
	case http.StatusPreconditionFailed:
		return gcerrors.FailedPrecondition
	case http.StatusTooManyRequests:
		return gcerrors.ResourceExhausted
	}
	return gcerrors.Unknown
}

// As is for none of Google's types: there is no client of Google's behind it.
func (b *bucket) As(any) bool { return false }

// ErrorAs gives the answer that an error was made of.
func (b *bucket) ErrorAs(err error, into any) bool {
	answer, ok := into.(**googleapi.Error)
	return ok && errors.As(err, answer)
}

// SignedURL is not for archives.
func (b *bucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errNoSigning
}

// Close ends the connections that wait for a next request.
func (b *bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

// notAs is what gocloud.dev's callbacks get in this driver.
func notAs(any) bool { return false }

func before(callback func(func(any) bool) error) error {
	if callback == nil {
		return nil
	}
	return callback(notAs)
}
