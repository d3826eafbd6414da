package store

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"
)

// googleAttempts are those of a call that got no answer, or that of a server in trouble:
// Google's client goes on without end, S3's and Azure's give up about as soon.
const googleAttempts = 4

// openGoogle opens a bucket of Google's. gocloud.dev's own opener writes to stdout where it
// finds no credentials, and goes on without.
func openGoogle(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	opener, err := googleOpener(ctx, u.Query())
	if err != nil {
		return nil, err
	}
	b, err := opener.OpenBucketURL(ctx, u)
	if err != nil {
		return nil, err
	}
	var client *storage.Client
	if b.As(&client) {
		client.SetRetry(storage.WithMaxAttempts(googleAttempts))
	}
	return b, nil
}

func googleOpener(ctx context.Context, query url.Values) (*gcsblob.URLOpener, error) {
	if wantsNoCredentials(query) {
		return &gcsblob.URLOpener{Client: gcp.NewAnonymousHTTPClient(gcp.DefaultTransport())}, nil
	}
	credentials, err := gcp.DefaultCredentialsWithParams(ctx, google.CredentialsParams{UniverseDomain: query.Get("universe_domain")})
	if err != nil {
		return nil, fmt.Errorf("find Google's credentials: %w", err)
	}
	domain, err := credentials.GetUniverseDomain()
	if err != nil {
		return nil, fmt.Errorf("find the domain of Google's credentials: %w", err)
	}
	client, err := gcp.NewHTTPClient(gcp.DefaultTransport(), credentials.TokenSource)
	if err != nil {
		return nil, err
	}
	options := gcsblob.Options{ClientOptions: []option.ClientOption{option.WithUniverseDomain(domain)}}
	return &gcsblob.URLOpener{Client: client, Options: options}, nil
}

// wantsNoCredentials: an emulator does not, nor what all may read.
func wantsNoCredentials(query url.Values) bool {
	anonymous, _ := strconv.ParseBool(query.Get("anonymous")) // the opener says what is wrong with it
	return anonymous || query.Get("access_id") == "-" || os.Getenv("STORAGE_EMULATOR_HOST") != ""
}
