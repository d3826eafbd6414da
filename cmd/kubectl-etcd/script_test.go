package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// TestMain makes the real main available to scripts, also as "kubectl etcd", so that
// examples run as they are typed.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"kubectl-etcd": main,
		"kubectl": func() {
			if len(os.Args) < 2 || os.Args[1] != "etcd" {
				os.Exit(127)
			}
			os.Args = append([]string{"kubectl-etcd"}, os.Args[2:]...)
			main()
		},
	})
}

// TestScripts runs testdata/script against a real etcd of three members with TLS, and
// API servers that refuse or hold nothing.
func TestScripts(t *testing.T) {
	cluster := etcdtest.Start(t, 3, etcdtest.Options{})
	cluster.Fill(20, 100)
	files := writeFiles(t, cluster)
	var endpoints []string
	for _, m := range cluster.Members {
		endpoints = append(endpoints, m.Addr())
	}
	forbidding, empty := forbiddingAPI(t), emptyAPI(t)
	guarded := httptest.NewTLSServer(http.HandlerFunc(emptyAnswer)) // a token is only sent over TLS
	t.Cleanup(guarded.Close)
	dead := etcdtest.FreeAddr(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("LC_ALL", "C.UTF-8")
			e.Setenv("GORACE", "atexit_sleep_ms=20") // not the second that it sleeps at every program's end
			e.Setenv("ENDPOINTS", strings.Join(endpoints, ","))
			e.Setenv("DEAD", dead)
			e.Setenv("FORBIDDING_API", forbidding)
			e.Setenv("EMPTY_API", empty)
			e.Setenv("EMPTY_TLS_API", guarded.URL)
			return os.CopyFS(e.WorkDir, os.DirFS(files))
		},
	})
}

// exits runs a program and checks its exit code: "exits 2 kubectl etcd …".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// writeFiles makes what every script finds in its folder: certificates and snapshots.
func writeFiles(t *testing.T, cluster *etcdtest.Cluster) string {
	t.Helper()
	dir := t.TempDir()
	client := cluster.Authority.Issue(etcdtest.Leaf{CommonName: "client"})
	expired := cluster.Authority.Issue(etcdtest.Expired("client"))
	stranger := etcdtest.NewAuthority(t, "stranger")
	for name, data := range map[string][]byte{
		"ca.crt": cluster.Authority.PEM, "client.crt": client.CertPEM, "client.key": client.KeyPEM,
		"expired.crt": expired.CertPEM, "expired.key": expired.KeyPEM, "other-ca.crt": stranger.PEM,
		"none.db": []byte("this is no snapshot at all\n"), "empty.db": nil,
	} {
		write(t, filepath.Join(dir, name), data)
	}
	writeNode(t, filepath.Join(dir, "node"), cluster)
	stream, err := cluster.Open(0).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "snapshot.db"), snapshot)
	snapshot[len(snapshot)/2] ^= 1
	write(t, filepath.Join(dir, "flipped.db"), snapshot)
	return dir
}

// writeNode makes the disk of a node with the first member's static pod, as kubeadm's, and
// a client certificate.
func writeNode(t *testing.T, dir string, cluster *etcdtest.Cluster) {
	t.Helper()
	const pki = "/etc/kubernetes/pki/etcd/"
	own, client := cluster.Members[0], cluster.Authority.Issue(etcdtest.Leaf{CommonName: "client", NotAfter: time.Now().Add(1000 * time.Hour)})
	for name, data := range map[string][]byte{
		pki + "ca.crt": cluster.Authority.PEM, pki + "healthcheck-client.crt": client.CertPEM, pki + "healthcheck-client.key": client.KeyPEM,
		"/etc/kubernetes/manifests/etcd.yaml": []byte(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "etcd", "namespace": "kube-system"},
			"spec": {"containers": [{"name": "etcd", "command": ["etcd", "--name=` + own.Name + `", "--client-cert-auth=true", "--trusted-ca-file=` + pki + `ca.crt",
			"--cert-file=` + pki + `server.crt", "--listen-client-urls=` + own.ClientURL + `"]}]}}`),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), data)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// forbiddingAPI refuses everything as RBAC does, in the API server's own words.
func forbiddingAPI(t *testing.T) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		resource, where := "pods", "at the cluster scope"
		if parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/"); len(parts) > 4 && parts[2] == "namespaces" {
			resource, where = parts[4], `in the namespace \"`+parts[3]+`\"`
		} else if len(parts) > 2 {
			resource = parts[2]
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"details":{"kind":"`+resource+`"},`+
			`"message":"`+resource+` is forbidden: User \"jane\" cannot list resource \"`+resource+`\" in API group \"\" `+where+`"}`)
	})
}

// emptyAPI has nothing of anything.
func emptyAPI(t *testing.T) string { return serve(t, emptyAnswer) }

func emptyAnswer(w http.ResponseWriter, r *http.Request) {
	kind := "PodList"
	if strings.HasSuffix(r.URL.Path, "/nodes") {
		kind = "NodeList"
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"kind":"`+kind+`","apiVersion":"v1","metadata":{},"items":[]}`)
}

func serve(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
