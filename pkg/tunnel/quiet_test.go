package tunnel

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

var clientOf = flag.String("client-of", "", "internal: the API server whose client this process is")

// Client-go likes to print what it can't return. The client runs in a process of its
// own, since here the test's server prints too.
func TestNothingIsPrinted(t *testing.T) {
	if *clientOf != "" {
		useEverything(t, *clientOf)
		return
	}
	server := startAPIServer(t, startTCP(t, echo), func(a *apiServer) {
		a.target = func(string) string { return "127.0.0.1:1" } // refused
		a.run = func(_ *http.Request, stdout, _ io.Writer) int {
			_, _ = stdout.Write(make([]byte, 1<<20))
			return noStatus
		}
		a.refuse = func(r *http.Request) *metav1.Status {
			if strings.Contains(r.URL.Path, "forbidden") {
				return newStatus(403, "no")
			}
			return nil
		}
	})
	config := server.config()
	t.Setenv("TEST_CA", string(config.CAData))
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingIsPrinted$", "-client-of="+server.URL)
	output, err := command.CombinedOutput()
	if rest := bytes.TrimSuffix(output, []byte("PASS\n")); err != nil || len(rest) > 0 {
		t.Errorf("the client ended with %v and printed:\n%s", err, rest)
	}
}

// useEverything meets every failure there is with server.
func useEverything(t *testing.T, server string) {
	config := &rest.Config{Host: server, BearerToken: "secret"}
	config.CAData = []byte(os.Getenv("TEST_CA"))
	d, err := New(config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.DialContext(t.Context(), testPod, 2379)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrRefused) {
		t.Errorf("read: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := d.DialContext(t.Context(), Pod{"forbidden", "x"}, 1); !errors.Is(err, ErrForbidden) {
		t.Errorf("dial: %v", err)
	}
	if err := d.Exec(t.Context(), testPod, "", []string{"x"}, io.Discard); !errors.Is(err, ErrDropped) {
		t.Errorf("exec: %v", err)
	}
	full := writerFunc(func([]byte) (int, error) { return 0, io.ErrShortWrite })
	if err := d.Exec(t.Context(), testPod, "", []string{"x"}, full); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("exec: %v", err)
	}
}
