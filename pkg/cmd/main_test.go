package cmd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// testSession has an environment of its own and keeps what is written.
func testSession(environment map[string]string) (s *session, out, errOut *bytes.Buffer) {
	out, errOut = &bytes.Buffer{}, &bytes.Buffer{}
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: errOut}
	return newSession(streams, func(name string) string { return environment[name] }), out, errOut
}

// checkUsage wants a usage error that says want; empty: no error.
func checkUsage(t *testing.T, name string, err error, want string) {
	t.Helper()
	var usage *usageError
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case want != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want %q", name, err, want)
	}
}

// runError is a root whose command x ends with err.
func runError(ctx context.Context, err error) (code int, stderr string) {
	s, _, errOut := testSession(nil)
	root := newRootCommand(s)
	root.AddCommand(&cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return err }})
	code = s.execute(ctx, root, []string{"x"})
	return code, errOut.String()
}

func forbidden(verb, resource, group, namespace string) error {
	where := "at the cluster scope"
	if namespace != "" {
		where = fmt.Sprintf("in the namespace %q", namespace)
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: group, Resource: resource}, "",
		fmt.Errorf("User %q cannot %s resource %q in API group %q %s", "jane", verb, resource, group, where))
}

func TestExitCodes(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("do it: %w", err) }
	for _, test := range []struct {
		name   string
		err    error
		code   int
		stderr []string
	}{
		{"none", nil, 0, nil},
		{"plain", errors.New("boom"), 1, []string{"error: boom\n"}},
		{"usage", wrap(usagef("no")), 2, []string{"error: do it: no\n", "hint: kubectl etcd x --help"}},
		{"findings", exitWith(exitFindings), 3, nil},
		{"not found", &discover.NotFoundError{Reason: "it is managed", Instead: "use theirs"}, 4, []string{"no etcd found: it is managed", "hint: use theirs"}},
		{"damaged", wrap(restore.ErrDamaged), 5, []string{"snapshot is damaged"}},
		{"origin", wrap(store.ErrOrigin), 5, []string{"no trusted writer signed it", "hint: nothing was restored", "kubectl etcd verify --trusted-writer"}},
		{"no snapshot", wrap(restore.ErrNotSnapshot), 1, []string{"hint: give a file that kubectl etcd backup"}},
		{"exists", wrap(restore.ErrExists), 1, []string{"hint: nothing was touched"}},
		{"unreachable", wrap(&tunnel.Error{Err: tunnel.ErrUnreachable}), 6, []string{"hint: etcd can be reached without the API server", "--endpoints"}},
		{"unreachable, without the request's URL", fmt.Errorf("%w: list pods: %w", tunnel.ErrUnreachable, &url.Error{Op: "Get", URL: "https://h:1/api?x=y", Err: errors.New("no route")}), 6, []string{": list pods: no route\n"}},
		{"refused", wrap(tunnel.ErrRefused), 1, []string{"kubectl get pods -A"}},
		{"dropped", wrap(tunnel.ErrDropped), 1, []string{"run the command again"}},
		{"quota", wrap(backup.ErrQuota), 1, []string{"no whole snapshot", "--abort-at-quota"}},
		{"tunnel forbidden", wrap(tunnel.ErrForbidden), 1, []string{"kubectl auth can-i create pods --subresource=portforward -n kube-system"}},
		{"forbidden", wrap(forbidden("list", "pods", "", "kube-system")), 1, []string{"kubectl auth can-i list pods -n kube-system\n"}},
		{"forbidden everywhere", forbidden("list", "nodes", "", ""), 1, []string{"kubectl auth can-i list nodes -A\n"}},
		{"forbidden group", forbidden("get", "etcds", "druid.gardener.cloud", "x"), 1, []string{"kubectl auth can-i get etcds.druid.gardener.cloud -n x\n"}},
		{"unauthorized", apierrors.NewUnauthorized("no"), 1, []string{"kubectl auth whoami"}},
		{"server name", wrap(etcd.ErrServerName), 1, []string{"subjectAltName"}},
		{"untrusted", wrap(etcd.ErrUntrusted), 1, []string{"--cacert must be"}},
		{"expired", wrap(etcd.ErrExpired), 1, []string{"-noout -dates"}},
		{"client cert", wrap(etcd.ErrClientCert), 1, []string{"--cacert, --cert and --key"}},
		{"disk full", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, 1, []string{"the disk is full"}},
		{"read-only", &fs.PathError{Op: "open", Path: "x", Err: syscall.EROFS}, 1, []string{"read-only"}},
		{"permission", &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, 1, []string{"may not write or read"}},
		{"login", wrap(etcd.ErrLogin), 1, []string{"--etcd-user NAME:PASSWORD"}},
		{"roles", wrap(etcd.ErrPermission), 1, []string{"--etcd-user NAME:PASSWORD"}},
		{"file exists", fmt.Errorf("%w: x.db: %w", backup.ErrWrite, fs.ErrExist), 1, []string{"hint: name another file with -f, or replace this one: --overwrite\n"}},
		{"untrusted and refused", errors.Join(tunnel.ErrRefused, etcd.ErrUntrusted), 1, []string{"--cacert must be"}},
		{"expired and dropped", errors.Join(tunnel.ErrDropped, etcd.ErrExpired), 1, []string{"-noout -dates"}},
		{"client cert and refused", errors.Join(tunnel.ErrRefused, etcd.ErrClientCert), 1, []string{"--cacert, --cert and --key"}},
		{"server name and dropped", errors.Join(tunnel.ErrDropped, etcd.ErrServerName), 1, []string{"subjectAltName"}},
		{"login and refused", errors.Join(tunnel.ErrRefused, etcd.ErrLogin), 1, []string{"--etcd-user"}},
		{"reader gone", wrap(&fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}), 1, nil},
		{"member gone", wrap(&net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}), 1, []string{"error: do it: write tcp: broken pipe\n"}},
		{"pipe gone", wrap(&fs.PathError{Op: "write", Path: "/tmp/fifo", Err: syscall.EPIPE}), 1, []string{"error: do it: write /tmp/fifo: broken pipe\n"}},
		{"no voter", errors.Join(errNoVoter, errors.New("a: gone")), 1, []string{"hint: see why: kubectl etcd status\n"}},
		{"no tail", fmt.Errorf("%w: a: gone", errLive), 1, []string{"error: read through etcd: a: gone\n", "hint: see who answers: kubectl etcd status\n"}},
		{"no backup", errors.Join(backup.ErrNoMember, errors.New("a: gone")), 1, []string{"hint: why: kubectl etcd status\n", "kubectl etcd backup --on-node"}},
		{"no backup for want of a port", errors.Join(backup.ErrNoMember, tunnel.ErrRefused), 1, []string{"kubectl get pods -A", "kubectl etcd backup --on-node"}},
		{"no folder for a backup", fmt.Errorf("%w: /nope/a.db: %w", backup.ErrWrite, fs.ErrNotExist), 1, []string{"hint: its folder must exist"}},
		{"no such file", wrap(&fs.PathError{Op: "open", Path: "/a b/c", Err: syscall.ENOENT}), 1, []string{"hint: look at what is there: ls -l '/a b'\n"}},
		{"own hint", withHint(wrap(tunnel.ErrRefused), "mine"), 1, []string{"hint: mine\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stderr := runError(t.Context(), test.err)
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, want := range test.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("%q is missing in %q", want, stderr)
				}
			}
			if test.stderr == nil && stderr != "" {
				t.Errorf("wrote %q", stderr)
			}
		})
	}
}

// What a server says must not steer the terminal: no escape sequences, no lone \r.
func TestErrorsAreCleaned(t *testing.T) {
	_, stderr := runError(t.Context(), withHint(errors.New("a: \x1b]0;owned\a\x1b[2Jboom\r\nb: \u009b31mbang"), "try\x1b[8m this"))
	if want := "error: a: boom\nb: 31mbang\nhint: try this\n"; stderr != want {
		t.Errorf("got %q, want %q", stderr, want)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, stderr := runError(ctx, fmt.Errorf("stream: %w", context.Canceled))
	if code != 130 || stderr != "error: interrupted\n" {
		t.Errorf("got %d %q", code, stderr)
	}
}

func TestUnreachable(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{&url.Error{Op: "Get", URL: "https://x", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, true},
		{fmt.Errorf("list pods: %w", context.DeadlineExceeded), true},
		{apierrors.NewServiceUnavailable("etcd"), true},
		{apierrors.NewTimeoutError("etcdserver: request timed out", 1), true},
		{&url.Error{Op: "Get", URL: "https://x", Err: context.Canceled}, false},
		{forbidden("list", "pods", "", "x"), false},
		{errors.New("other"), false},
	} {
		if got := unreachable(test.err); got != test.want {
			t.Errorf("%v: got %v", test.err, got)
		}
	}
}

// Every command's help ends with the exit codes, hides kubectl's own flags and has an example.
func TestHelp(t *testing.T) {
	s, _, _ := testSession(nil)
	for _, c := range append(newRootCommand(s).Commands(), newRootCommand(s)) {
		s, out, _ := testSession(nil)
		args := []string{"--help"}
		if c.HasParent() {
			args = []string{c.Name(), "--help"}
		}
		if code := s.execute(t.Context(), newRootCommand(s), args); code != 0 {
			t.Errorf("%v: exit code %d", args, code)
		}
		help := out.String()
		if c.Name() == "recovery" {
			if !strings.HasPrefix(help, "# Quorum lost") {
				t.Errorf("%v: %s", args, help)
			}
			continue
		}
		if !strings.Contains(help, exitCodesHelp) || !strings.Contains(help, "\nExamples:\n") || strings.Contains(help, "--as-group") {
			t.Errorf("%v: %s", args, help)
		}
	}
}

func TestKubeFlagsAreListedByOptions(t *testing.T) {
	s, out, _ := testSession(nil)
	if code := s.execute(t.Context(), newRootCommand(s), []string{"options"}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{"--context", "--kubeconfig", "-n, --namespace", "--as-group", "--color", "-o, --output"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is missing", want)
		}
	}
}

// A command line that is wrong has not been looked at any further; its --color goes for the error.
func TestErrorInTheColourThatIsWanted(t *testing.T) {
	for _, test := range []struct {
		args        []string
		environment map[string]string
		want        string
	}{
		{[]string{"status", "a", "b", "--color", "always"}, nil, "\x1b["},
		{[]string{"status", "a", "b", "--color", "never"}, map[string]string{"CLICOLOR_FORCE": "1"}, "error: "},
	} {
		s, _, errOut := testSession(test.environment)
		if s.execute(t.Context(), newRootCommand(s), test.args); !strings.HasPrefix(errOut.String(), test.want) {
			t.Errorf("%q: %q, want %q", test.args, errOut, test.want)
		}
	}
}
