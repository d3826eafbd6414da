//go:build unix

package gcs

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/drivertest"

	"github.com/kubectl-etcd/kubectl-etcd/test/gcs"
)

// emulated lets gocloud.dev hold the driver to what it wants of all.
type emulated struct{ server *gcs.Server }

func (e emulated) MakeDriver(ctx context.Context) (driver.Bucket, error) {
	return open(ctx, &url.URL{Scheme: Scheme, Host: e.server.Bucket})
}

func (emulated) MakeDriverForNonexistentBucket(ctx context.Context) (driver.Bucket, error) {
	return open(ctx, &url.URL{Scheme: Scheme, Host: "no-such-bucket"})
}

func (emulated) HTTPClient() *http.Client { return nil }
func (emulated) Close()                   {}

func TestConformance(t *testing.T) {
	server := gcs.Start(t)
	server.Login(t)
	drivertest.RunConformanceTests(t, func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
		if strings.Contains(t.Name(), "TestListDelimiters") {
			t.Skip("the emulator takes the first letter of a delimiter for all of it, and counts no folders for a page")
		}
		return emulated{server}, nil
	}, nil)
}
