//go:build e2e

// Package e2e walks whole journeys of a user over the real binary, a real kubeadm
// cluster of three control planes, and the real kubectl.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// plugin is the binary under test; the cluster is the one that all journeys share,
// each leaving it as it found it.
var (
	plugin string
	shared *cluster.Cluster
)

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "kubectl-etcd-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of the system's own
	plugin = filepath.Join(dir, "kubectl-etcd")
	if out, err := exec.CommandContext(ctx, "go", "build", "-race", "-o", plugin, "../../cmd/kubectl-etcd").CombinedOutput(); err != nil {
		return fail(fmt.Errorf("build the plugin: %w: %s", err, out))
	}
	if err := os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return fail(err)
	}
	// The race detector sleeps a second before a program ends, in case a goroutine is left.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=20"); err != nil {
		return fail(err)
	}
	shared, err = cluster.Up(ctx, cluster.Options{Name: "e2e", Nodes: 3, Log: os.Stderr})
	if err != nil {
		return fail(err)
	}
	code := m.Run()
	if os.Getenv("KEEP_CLUSTER") != "" {
		return code
	}
	down, cancelDown := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancelDown()
	if err := shared.Down(down); err != nil {
		return fail(err)
	}
	return code
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	return 1
}

// result is one run of the plugin.
type result struct {
	args   []string
	stdout string
	stderr string
	code   int
	took   time.Duration
}

// run starts `kubectl etcd args…` on the shared cluster and waits for its end.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return runWith(t, []string{"KUBECONFIG=" + shared.Kubeconfig()}, args...)
}

// runWithCerts is run with the control plane's etcd client certificate in flags.
func runWithCerts(t *testing.T, args ...string) result {
	t.Helper()
	return run(t, append(args, certFlags()...)...)
}

func certFlags() []string {
	dir := shared.Certs()
	return []string{"--cacert", filepath.Join(dir, "ca.crt"), "--cert", filepath.Join(dir, "client.crt"), "--key", filepath.Join(dir, "client.key")}
}

// runWith runs the plugin through the real kubectl in the environment that tests
// share plus env.
func runWith(t *testing.T, env []string, args ...string) result {
	t.Helper()
	c := exec.Command("kubectl", append([]string{"etcd"}, args...)...)
	c.Env = append(cleanEnv(), env...)
	return finish(t, c, args)
}

func finish(t *testing.T, c *exec.Cmd, args []string) result {
	t.Helper()
	return begin(t, c, args)()
}

// begin starts the command; the function it returns waits for its end. Standard output
// that c has a place for already is not in the result.
func begin(t *testing.T, c *exec.Cmd, args []string) (wait func() result) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stderr = &stderr
	if c.Stdout == nil {
		c.Stdout = &stdout
	}
	began := time.Now()
	if err := c.Start(); err != nil {
		t.Fatalf("run %v: %v", args, err)
	}
	return func() result {
		t.Helper()
		err := c.Wait()
		r := result{args: args, stdout: stdout.String(), stderr: stderr.String(), took: time.Since(began)}
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			r.code = exit.ExitCode()
		case err != nil:
			t.Fatalf("run %v: %v", args, err)
		}
		if strings.Contains(r.stderr, "DATA RACE") {
			t.Errorf("data race in %v:\n%s", args, r.stderr)
		}
		return r
	}
}

// cleanEnv is this process's environment without what would change the plugin's way.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if name == "KUBECONFIG" || strings.HasPrefix(name, "ETCDCTL_") || strings.HasPrefix(name, "KUBECTL_ETCD_") {
			continue
		}
		env = append(env, kv)
	}
	return env
}

func (r result) wantExit(t *testing.T, code int) {
	t.Helper()
	if r.code != code {
		t.Fatalf("kubectl etcd %s: exit %d, want %d\nstdout: %s\nstderr: %s", strings.Join(r.args, " "), r.code, code, r.stdout, r.stderr)
	}
}

func (r result) wantStdout(t *testing.T, parts ...string) {
	t.Helper()
	r.want(t, "stdout", r.stdout, parts)
}

func (r result) wantStderr(t *testing.T, parts ...string) {
	t.Helper()
	r.want(t, "stderr", r.stderr, parts)
}

func (r result) want(t *testing.T, stream, text string, parts []string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("kubectl etcd %s: %s lacks %q:\n%s", strings.Join(r.args, " "), stream, part, text)
		}
	}
}

// decode reads stdout as JSON into v.
func (r result) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.stdout), v); err != nil {
		t.Fatalf("kubectl etcd %s: decode stdout: %v\n%s\nstderr: %s", strings.Join(r.args, " "), err, r.stdout, r.stderr)
	}
}

// kubectl runs kubectl on the shared cluster and returns its standard output.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryKubectl(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryKubectl(args ...string) (string, error) {
	c := exec.Command("kubectl", append([]string{"--kubeconfig", shared.Kubeconfig(), "--request-timeout=10s"}, args...)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}
