//go:build unix

// Package s3 runs a real S3 server (versitygw, over a folder) for tests, and spoils
// the way to it.
//
// Its one idea: the faults are between client and server, in a Proxy. What the server
// keeps is what a real one would keep, and can be read past the faults.
package s3

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster/binaries"
	"github.com/kubectl-etcd/kubectl-etcd/test/process"
)

// Server is a running server with one empty bucket. It ends with its test.
type Server struct {
	Endpoint  string // http://127.0.0.1:PORT
	Bucket    string
	AccessKey string // for AWS_ACCESS_KEY_ID
	SecretKey string // for AWS_SECRET_ACCESS_KEY
	Dir       string // holds a folder for each bucket, and in it a file for each object

	passage http.Handler
}

// Start builds the server if it is not in the cache, and starts it on an empty folder.
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := binaries.Ensure(t.Context(), t.Output(), binaries.VersityGW)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Bucket: "archive", AccessKey: "test", SecretKey: rand.Text(), Dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(s.Dir, s.Bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(socketDir(t), "s3")
	s.passage = newPassage(socket)
	server := process.Start(t, s.command(filepath.Join(bin, "versitygw"), socket))
	s.Endpoint = listen(t, func(w http.ResponseWriter, r *http.Request) {
		receive(r)
		s.passage.ServeHTTP(w, r)
	})
	if err := server.Until(t.Context(), func(ctx context.Context) error { return process.Answers(ctx, s.Endpoint+health) }); err != nil {
		t.Fatal(err)
	}
	return s
}

// Login makes the server's keys those that S3 clients find, here and in child processes,
// until the test ends, and hides what else the machine has for them.
func (s *Server) Login(t testing.TB) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": s.AccessKey, "AWS_SECRET_ACCESS_KEY": s.SecretKey, "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
}

// URL names the part of the bucket below prefix, with the options of gocloud.dev/blob.
// gocloud.dev itself looks at no prefix: it opens the whole bucket.
func (s *Server) URL(prefix string) string { return s.through(s.Endpoint, prefix) }

func (s *Server) through(endpoint, prefix string) string {
	query := url.Values{"endpoint": {endpoint}, "region": {"us-east-1"}, "use_path_style": {"true"}}
	u := url.URL{Scheme: "s3", Host: s.Bucket, Path: "/" + prefix, RawQuery: query.Encode()}
	return u.String()
}

const health = "/health" // the bucket has another name

func (s *Server) command(binary, socket string) *exec.Cmd {
	cmd := exec.Command(binary, "--port", socket, "--health", health, "--quiet", "posix", s.Dir)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	return cmd
}

// socketDir is short: the name of a socket has about 100 bytes, and a test's may be long.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s3-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
