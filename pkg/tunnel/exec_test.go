package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// startExec starts an API server whose containers run commands with run.
func startExec(t *testing.T, change func(*apiServer), run runCommand) *apiServer {
	t.Helper()
	return startAPIServer(t, "127.0.0.1:1", func(a *apiServer) {
		a.run = run
		change(a)
	})
}

func TestExecReturnsOutput(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		big := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB
		var path string
		var query map[string][]string
		server := startExec(t, change, func(r *http.Request, stdout, stderr io.Writer) int {
			path, query = r.URL.Path, r.URL.Query()
			for rest := big; len(rest) > 0; rest = rest[1<<14:] {
				_, _ = stdout.Write(rest[:1<<14])
			}
			_, _ = io.WriteString(stderr, "a warning\n")
			return 0
		})
		var out bytes.Buffer
		argv := []string{"etcdctl", "member list", "-w", "json; rm -rf $HOME"}
		if err := server.dialer(t, Options{}).Exec(t.Context(), testPod, "etcd", argv, &out); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), big) {
			t.Errorf("%d bytes of output, want %d", out.Len(), len(big))
		}
		want := map[string][]string{"command": argv, "container": {"etcd"}, "stdout": {"true"}, "stderr": {"true"}}
		if diff := cmp.Diff(want, query); diff != "" || path != "/api/v1/namespaces/kube-system/pods/etcd-a/exec" {
			t.Errorf("asked %s for (-want +got):\n%s", path, diff)
		}
	})
}

func TestExecReturnsExitCode(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		server := startExec(t, change, func(_ *http.Request, stdout, stderr io.Writer) int {
			_, _ = io.WriteString(stdout, "some")
			for i := range 1000 {
				_, _ = fmt.Fprintf(stderr, "line %d of what went wrong\n", i)
			}
			return 3
		})
		var out bytes.Buffer
		err := server.dialer(t, Options{}).Exec(t.Context(), testPod, "etcd", []string{"etcdctl", "x"}, &out)
		var exit *ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("error %v, want *ExitError", err)
		}
		if exit.Code != 3 || exit.Pod != testPod || exit.Argv[0] != "etcdctl" || out.String() != "some" {
			t.Errorf("got %+v, output %q", exit, out.String())
		}
		if len(exit.Stderr) > maxStderr || len(exit.Stderr) < maxStderr/2 || !strings.HasSuffix(exit.Stderr, "line 999 of what went wrong") {
			t.Errorf("stderr has %d bytes, ends %q", len(exit.Stderr), exit.Stderr[max(0, len(exit.Stderr)-40):])
		}
	})
}

func TestExecReportsWhatTheAPIServerSays(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		const text = `pods "etcd-a" is forbidden: User "eve" cannot create resource "pods/exec"`
		server := startExec(t, change, nil)
		for code, want := range map[int32]error{403: ErrForbidden, 404: ErrRefused} {
			server.refuse = func(*http.Request) *metav1.Status { return newStatus(code, text) }
			err := server.dialer(t, Options{}).Exec(t.Context(), testPod, "etcd", []string{"true"}, io.Discard)
			checkRefusal(t, err, want, text)
			if !strings.HasPrefix(err.Error(), "exec in kube-system/etcd-a: ") {
				t.Errorf("error reads %q", err)
			}
		}
	})
}

// The kubelet says in plain text that there is nothing to run a command in: the API server
// that hands it on is well.
func TestExecReportsWhatIsNotThere(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		server := startExec(t, change, nil)
		for _, test := range []struct {
			code       int32
			text, want string
		}{
			{500, `container not found ("etcd")`, "exec in kube-system/etcd-a: the container is not running: "},
			{404, "pod does not exist", "exec in kube-system/etcd-a: the pod is gone: "},
		} {
			server.refuse = func(*http.Request) *metav1.Status { return &metav1.Status{Code: test.code, Message: test.text} }
			err := server.dialer(t, Options{}).Exec(t.Context(), testPod, "etcd", []string{"true"}, io.Discard)
			if !errors.Is(err, ErrRefused) || errors.Is(err, ErrUnreachable) {
				t.Errorf("%s: %v, want ErrRefused", test.text, err)
			}
			if !strings.HasPrefix(err.Error(), test.want) || !strings.HasSuffix(err.Error(), test.text) {
				t.Errorf("error reads %q", err)
			}
		}
	})
}

func TestExecNotSureOfItsEndIsDropped(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		server := startExec(t, change, func(_ *http.Request, stdout, _ io.Writer) int {
			_, _ = io.WriteString(stdout, "half of")
			return noStatus
		})
		err := server.dialer(t, Options{}).Exec(t.Context(), testPod, "etcd", []string{"true"}, io.Discard)
		if !errors.Is(err, ErrDropped) {
			t.Errorf("error %v, want ErrDropped", err)
		}
	})
}

func TestExecEndsWithItsContext(t *testing.T) {
	bothProtocols(t, func(t *testing.T, change func(*apiServer)) {
		end := make(chan struct{})
		defer close(end)
		server := startExec(t, change, func(_ *http.Request, stdout, _ io.Writer) int {
			_, _ = io.WriteString(stdout, "started")
			<-end
			return 0
		})
		ctx, cancel := context.WithCancel(t.Context())
		stdout := writerFunc(func(p []byte) (int, error) {
			cancel()
			return len(p), nil
		})
		err := server.dialer(t, Options{}).Exec(ctx, testPod, "etcd", []string{"sleep"}, stdout)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// deaf is a credential plugin that waits for somebody at a browser: it knows no context.
type deaf struct {
	http.RoundTripper
	over <-chan struct{}
}

func (d deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-d.over:
	case <-time.After(20 * time.Second): // to end a test that failed
	}
	return d.RoundTripper.RoundTrip(r)
}

func TestBlockedCredentialPluginEndsWithTheContext(t *testing.T) {
	over, runs := make(chan struct{}), make(chan struct{}, 2)
	server := startExec(t, func(*apiServer) {}, func(*http.Request, io.Writer, io.Writer) int {
		runs <- struct{}{}
		return 0
	})
	config := server.config()
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper { return deaf{rt, over} })
	d, err := New(config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func(context.Context) error{
		"dial": func(ctx context.Context) error { _, err := d.DialContext(ctx, testPod, 1); return err },
		"exec": func(ctx context.Context) error { return d.Exec(ctx, testPod, "etcd", []string{"x"}, io.Discard) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := do(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "credentials") {
			t.Errorf("%s: error %v, want the deadline and what was waited for", name, err)
		}
	}
	close(over)
	eventually(t, "our goroutines end", func() bool { return len(ourGoroutines()) == 0 })
	if len(runs) > 0 {
		t.Error("a command was started after Exec had given up")
	}
}

func TestExecReportsAFullDisk(t *testing.T) {
	server := startExec(t, func(*apiServer) {}, func(_ *http.Request, stdout, _ io.Writer) int {
		for range 1000 {
			if _, err := stdout.Write(make([]byte, 1<<10)); err != nil {
				break
			}
		}
		return 0
	})
	full := errors.New("no space left on device")
	stdout := writerFunc(func([]byte) (int, error) { return 0, full })
	err := server.dialer(t, Options{}).Exec(t.Context(), testPod, "etcd", []string{"cat"}, stdout)
	if !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}

func TestExecTriesAlternativesButStartsOnce(t *testing.T) {
	runs := 0
	server := startExec(t, func(*apiServer) {}, func(*http.Request, io.Writer, io.Writer) int {
		runs++
		return noStatus // the API server dies with the command running
	})
	config := server.config()
	config.Host = hang(t)
	d, err := New(config, Options{Alternatives: []string{server.URL, closedPort(t)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*1e9)
	defer cancel()
	err = d.Exec(ctx, testPod, "etcd", []string{"true"}, io.Discard)
	if !errors.Is(err, ErrDropped) || runs != 1 {
		t.Errorf("%d runs, error %v", runs, err)
	}
}

// The addresses that the cluster gives its API servers are often not routable from
// where the kubeconfig's is.
func TestExecWaitsForASlowServer(t *testing.T) {
	server := startExec(t, func(a *apiServer) {
		a.refuse = func(*http.Request) *metav1.Status { time.Sleep(1200 * time.Millisecond); return nil }
	}, func(_ *http.Request, stdout, _ io.Writer) int { _, _ = io.WriteString(stdout, "x"); return 0 })
	alternatives := make([]string, 10)
	for i := range alternatives {
		alternatives[i] = hang(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var out bytes.Buffer
	err := server.dialer(t, Options{Alternatives: alternatives}).Exec(ctx, testPod, "etcd", []string{"true"}, &out)
	if err != nil || out.String() != "x" {
		t.Errorf("output %q, error %v", out.String(), err)
	}
}

func TestExecNeedsACommand(t *testing.T) {
	d := startAPIServer(t, "127.0.0.1:1", nil).dialer(t, Options{})
	if err := d.Exec(t.Context(), testPod, "etcd", nil, io.Discard); err == nil {
		t.Error("no command, no error")
	}
}
