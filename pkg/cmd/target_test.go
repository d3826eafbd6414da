package cmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

func TestParseEndpoint(t *testing.T) {
	for _, test := range []struct {
		text   string
		secure bool
		want   string // empty: refused
	}{
		{"10.0.0.1:2379", false, "http://10.0.0.1:2379"},
		{"10.0.0.1:2379", true, "https://10.0.0.1:2379"},
		{"http://10.0.0.1:2379", true, "http://10.0.0.1:2379"},
		{"https://etcd.example", false, "https://etcd.example:2379"},
		{"[::1]:4001", false, "http://[::1]:4001"},
		{"https://10.0.0.1:2379/", false, "https://10.0.0.1:2379"},
		{"unix:///x", false, ""},
		{"https://", false, ""},
		{"", false, ""},
		{"https://u:p@x:1", false, ""},
		{"https://x:1/health", false, ""},
		{"10.0.0.1:port", false, ""},
	} {
		u, err := parseEndpoint(test.text, test.secure)
		if (err != nil) != (test.want == "") || err == nil && u.String() != test.want {
			t.Errorf("%q: got %v %v, want %q", test.text, u, err, test.want)
		}
	}
}

func TestChoose(t *testing.T) {
	clusters := []discover.Cluster{
		{Namespace: "kube-system", Name: "main"}, {Namespace: "kube-system", Name: "events"},
		{Namespace: "a", Name: "etcd"}, {Namespace: "b", Name: "etcd"},
	}
	for name, want := range map[string]int{"": 4, "main": 1, "kube-system/events": 1, "etcd": 2, "b/etcd": 1} {
		chosen, err := choose(clusters, name)
		if err != nil || len(chosen) != want {
			t.Errorf("%q: %v %v", name, chosen, err)
		}
	}
	var usage *usageError
	if _, err := choose(clusters, "nope"); !errors.As(err, &usage) {
		t.Errorf("nope: %v", err)
	}
	if diff := cmp.Diff([]string{"main", "events", "a/etcd", "b/etcd"}, clusterNames(clusters)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestTargetComplete(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(*target)
		args []string
		want string // part of the usage error; empty: none
	}{
		{"nothing", func(*target) {}, nil, ""},
		{"argument", func(*target) {}, []string{"main"}, ""},
		{"argument and flag", func(o *target) { o.name = "events" }, []string{"main"}, "both --etcd"},
		{"level as kubectl takes it", func(o *target) { o.verbosity = 1 }, []string{"6"}, "write -v=6"},
		{"empty argument", func(*target) {}, []string{""}, "CLUSTER is given, but empty"},
		{"key missing", func(o *target) { o.files.cert = "x" }, nil, "go together"},
		{"secret and files", func(o *target) { o.certSecret, o.files.ca = "a/b", "x" }, nil, ""},
		{"secret and certificate", func(o *target) { o.certSecret, o.files.cert, o.files.key = "a/b", "x", "y" }, nil, "exclude each other"},
		{"secret without namespace", func(o *target) { o.certSecret = "b" }, nil, "NAMESPACE/NAME"},
		{"secret without Kubernetes", func(o *target) { o.certSecret, o.endpoints = "a/b", []string{"x"} }, nil, "needs Kubernetes"},
		{"timeout", func(o *target) { o.timeout = 0 }, nil, "--timeout"},
		{"endpoint", func(o *target) { o.endpoints = []string{"ftp://x"} }, nil, "ftp"},
		{"password", func(o *target) { o.endpoints = []string{"https://root:secret@h:1"} }, nil, `"…@h:1"`},
		{"a name beside endpoints", func(o *target) { o.endpoints = []string{"h"} }, []string{"events"}, "leave out"},
		{"all beside endpoints", func(o *target) { o.endpoints, o.all = []string{"h"}, true }, nil, "leave out"},
		{"relay without Kubernetes", func(o *target) { o.onNode, o.relay.wanted = true, true }, nil, "--relay needs Kubernetes"},
	} {
		s, _, _ := testSession(nil)
		o := newTarget(s)
		o.timeout = time.Second
		test.set(&o)
		checkUsage(t, test.name, o.complete(test.args), test.want)
	}
}

// writeCert issues a client certificate of an authority of its own.
func writeCert(t *testing.T, leaf etcdtest.Leaf) tlsFiles {
	t.Helper()
	return writePair(t, etcdtest.NewAuthority(t, "test"), leaf)
}

func TestCertificates(t *testing.T) {
	now := time.Now()
	good, other, expired := writeCert(t, etcdtest.Leaf{}), writeCert(t, etcdtest.Leaf{}), writeCert(t, etcdtest.Expired("client"))
	future := writeCert(t, etcdtest.Leaf{NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)})
	dir := t.TempDir()
	empty, text := filepath.Join(dir, "empty.pem"), filepath.Join(dir, "text.pem")
	for name, content := range map[string]string{empty: "", text: "to do\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		files tlsFiles
		want  []string // parts of the error; none: it is taken
		is    error
	}{
		{"good", good, nil, nil},
		{"authority alone", tlsFiles{ca: good.ca}, nil, nil},
		{"unreadable", tlsFiles{ca: "/nonexistent/ca.crt"}, []string{"read etcd's authority", "/nonexistent/ca.crt"}, os.ErrNotExist},
		{"key of another", tlsFiles{good.ca, good.cert, other.key}, []string{good.cert, other.key, "private key does not match"}, nil},
		{"expired", expired, []string{expired.cert, "ended at " + now.Add(-24*time.Hour).UTC().Format("2006-01-02T")}, etcd.ErrExpired},
		{"not yet valid", future, []string{future.cert, "begins at"}, etcd.ErrExpired},
		{"empty authority", tlsFiles{ca: empty}, []string{"read etcd's authority", empty + " is empty"}, nil},
		{"empty pair", tlsFiles{good.ca, empty, empty}, []string{"read etcd's client certificate", empty + " is empty"}, nil},
		{"empty key", tlsFiles{good.ca, good.cert, empty}, []string{"read etcd's client key", empty + " is empty"}, nil},
		{"no PEM", tlsFiles{ca: text}, []string{"read etcd's authority", text + " holds nothing in PEM"}, nil},
		{"no certificate", tlsFiles{ca: good.key}, []string{good.key, "holds no PEM certificate"}, nil},
	} {
		bundle, err := test.files.read()
		if err == nil {
			_, err = bundle.tlsConfig(now)
		}
		if (err != nil) != (len(test.want) > 0) || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: got %v", test.name, err)
		}
		for _, part := range test.want {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q is missing in %q", test.name, part, err)
			}
		}
	}
}

func TestLogin(t *testing.T) {
	for _, test := range []struct {
		flag           string
		env            map[string]string
		user, password string
		fails          bool
	}{
		{"", nil, "", "", false},
		{"root:a:b", nil, "root", "a:b", false},
		{"root", map[string]string{"ETCDCTL_PASSWORD": "p"}, "root", "p", false},
		{"root", nil, "", "", true},
		{"", map[string]string{"ETCDCTL_USER": "u:p"}, "u", "p", false},
		{"root:x", map[string]string{"ETCDCTL_USER": "u:p"}, "root", "x", false},
	} {
		s, _, _ := testSession(test.env)
		o := newTarget(s)
		o.user = test.flag
		user, password, err := o.login()
		if user != test.user || password != test.password || (err != nil) != test.fails {
			t.Errorf("%q %v: %q %q %v", test.flag, test.env, user, password, err)
		}
	}
}

var tlsCluster = discover.Cluster{Name: "main", Pods: []discover.Pod{{
	Namespace: "kube-system", Name: "etcd-node0", Container: "etcd", ExecContainer: "etcd", TLS: true, ClientPort: 2379,
	Exec: []string{"etcdctl", "--cacert=/ca"}, Settings: discover.Settings{"quota-backend-bytes": {Value: "8589934592"}},
}}}

func TestCredentialsOrder(t *testing.T) {
	flags, environment := writeCert(t, etcdtest.Leaf{}), writeCert(t, etcdtest.Leaf{})
	env := map[string]string{"ETCDCTL_CACERT": environment.ca, "ETCDCTL_CERT": environment.cert, "ETCDCTL_KEY": environment.key}
	known := func(_ context.Context, _ discover.Client, _ discover.Cluster, o discover.CredentialOptions) (*discover.Secret, error) {
		return &discover.Secret{CA: []byte("x"), Source: "secret " + o.Secret}, nil
	}
	for _, test := range []struct {
		name  string
		files tlsFiles
		env   map[string]string
		named string
		want  string // FromCA
	}{
		{"flags before all", flags, env, "", flags.ca},
		{"a Secret that is named before the environment", tlsFiles{}, env, "a/b", "secret a/b"},
		{"its authority from a file", tlsFiles{ca: flags.ca}, env, "a/b", flags.ca},
		{"the environment before known Secrets", tlsFiles{}, env, "", environment.ca},
		{"known Secrets last", tlsFiles{}, nil, "", "secret "},
	} {
		s, _, _ := testSession(test.env)
		o := newTarget(s)
		o.files, o.certSecret, o.secrets = test.files, test.named, known
		bundle, err := o.credentials(t.Context(), nil, tlsCluster)
		if err != nil || bundle.FromCA != test.want {
			t.Errorf("%s: %+v %v", test.name, bundle, err)
		}
	}
	s, _, _ := testSession(env)
	o := newTarget(s)
	if bundle, err := o.credentials(t.Context(), nil, discover.Cluster{Pods: []discover.Pod{{}}}); bundle != nil || err != nil {
		t.Errorf("without TLS: %+v %v", bundle, err)
	}
}

// execDialer runs commands by a func, and has no ports.
type execDialer struct {
	exec func(pod tunnel.Pod, container string, argv []string) (string, error)
}

func (d execDialer) DialContext(context.Context, tunnel.Pod, int) (net.Conn, error) {
	return nil, tunnel.ErrRefused
}

func (d execDialer) Exec(_ context.Context, pod tunnel.Pod, container string, argv []string, stdout io.Writer) error {
	text, err := d.exec(pod, container, argv)
	for part := range slices.Chunk([]byte(text), 32<<10) {
		if _, err := stdout.Write(part); err != nil {
			return err
		}
	}
	return err
}

// withKubernetes is a target whose API server is server and which finds found.
func withKubernetes(t *testing.T, server *httptest.Server, found *discover.Found, dialer podDialer) *target {
	t.Helper()
	s, _, _ := testSession(nil)
	*s.kube.APIServer = server.URL
	o := newTarget(s)
	o.timeout = 5 * time.Second
	o.secrets = func(context.Context, discover.Client, discover.Cluster, discover.CredentialOptions) (*discover.Secret, error) {
		return nil, discover.ErrNoCredentials
	}
	o.find = func(context.Context, discover.Client, discover.Options) (*discover.Found, error) {
		return found, nil
	}
	o.dialer = func(*rest.Config, tunnel.Options) (podDialer, error) { return dialer, nil }
	return &o
}

func TestWithoutCertificatesReadersExec(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	var got []string
	o := withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{tlsCluster}, Notes: []string{"n"}}, execDialer{
		func(pod tunnel.Pod, container string, argv []string) (string, error) {
			got = append([]string{pod.String(), container}, argv...)
			return "answer", nil
		}})
	reached, err := o.readers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := reached[0]
	if r.way != wayExec || r.sources[0].Quota != 8<<30 || len(r.notes) != 1 {
		t.Errorf("got %+v", r)
	}
	text, err := r.sources[0].Reader.(*etcd.Ctl).Run(t.Context(), "member", "list")
	if err != nil || string(text) != "answer" {
		t.Errorf("got %q %v", text, err)
	}
	if diff := cmp.Diff([]string{"kube-system/etcd-node0", "etcd", "etcdctl", "--cacert=/ca", "member", "list"}, got); diff != "" {
		t.Errorf("ran (-want +got):\n%s", diff)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestBackupNeedsCertificatesAndOneCluster(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	o := withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{tlsCluster}}, execDialer{})
	if _, err := o.one(t.Context()); err == nil || !strings.Contains(err.Error(), "wants a client certificate") {
		t.Errorf("without certificates: %v", err)
	}
	o = withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{{Name: "main"}, {Name: "events"}}}, execDialer{})
	f := o.explain(func() error { _, err := o.one(t.Context()); return err }(), "kubectl etcd backup")
	if f.code != exitUsage || !strings.Contains(f.message, "main, events") || !strings.Contains(f.hints[0], "--etcd main") {
		t.Errorf("two clusters: %+v", f)
	}
}

// A negative quota is etcd's own way to say that there is none; 0 is its default.
func TestPodQuota(t *testing.T) {
	for value, want := range map[string]int64{"": 0, "0": 0, "8589934592": 8 << 30, "-1": -1} {
		pod := discover.Pod{Settings: discover.Settings{"quota-backend-bytes": {Value: value}}}
		if got := podSource(pod).Quota; got != want {
			t.Errorf("%q: got %d, want %d", value, got, want)
		}
	}
}

// However much is logged, a Secret's content is not.
func TestLogHoldsNoSecret(t *testing.T) {
	const key = "VEhFLUtFWQ=="
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"tls.key":"`+key+`"}}`)
	}))
	defer server.Close()
	s, _, errOut := testSession(nil)
	s.verbosity, s.bridge = 10, bridgeKlog
	if err := s.complete(); err != nil {
		t.Fatal(err)
	}
	defer bridgeKlog(slog.New(slog.DiscardHandler), 0)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.CoreV1().Secrets("x").Get(t.Context(), "s", metav1.GetOptions{})
	if err != nil || string(secret.Data["tls.key"]) != "THE-KEY" {
		t.Fatalf("got %v %v", secret, err)
	}
	if log := errOut.String(); !strings.Contains(log, "/api/v1/namespaces/x/secrets/s") || strings.Contains(log, key) {
		t.Errorf("the log is\n%s", log)
	}
}

// The API server is asked which right is missing, and that very line is printed.
func TestRefusalNamesTheRight(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		allowed := strings.Contains(body.String(), "create")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{},"status":{"allowed":`+map[bool]string{true: "true", false: "false"}[allowed]+`}}`)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	r := &refusals{client: client}
	if err := r.explain(t.Context()); err != nil {
		t.Errorf("before any refusal: %v", err)
	}
	r.note(errors.New("other"), "pods/exec", "x")
	r.note(&tunnel.Error{Err: tunnel.ErrForbidden}, "pods/portforward", "kube-system")
	s, _, _ := testSession(nil)
	f := s.explain(r.explain(t.Context()), "kubectl etcd status")
	want := []string{"ask for this right, and check it with: kubectl auth can-i get pods --subresource=portforward -n kube-system"}
	if diff := cmp.Diff(want, f.hints); diff != "" || f.code != exitError {
		t.Errorf("code %d (-want +got):\n%s", f.code, diff)
	}
}

func TestUnreachableAPIServer(t *testing.T) {
	s, _, _ := testSession(nil)
	for _, test := range []struct {
		err  error
		code int
	}{
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, exitUnreachable},
		{context.DeadlineExceeded, exitUnreachable},
		{&discover.NotFoundError{Reason: "r", Instead: "i"}, exitNotFound},
		{forbidden("list", "pods", "", "kube-system"), exitError},
	} {
		if f := s.explain(apiError(t.Context(), "https://h", test.err), "x"); f.code != test.code {
			t.Errorf("%v: %+v, want code %d", test.err, f, test.code)
		}
	}
}

// What is wrong with one cluster's certificates stands in its rows and hides no other.
func TestOneClusterHidesNoOther(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	other := tlsCluster
	other.Name = "events"
	o := withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{tlsCluster, other}}, execDialer{})
	o.secrets = func(_ context.Context, _ discover.Client, c discover.Cluster, _ discover.CredentialOptions) (*discover.Secret, error) {
		if c.Name == "events" {
			return nil, errors.New("secret holds no key")
		}
		return nil, discover.ErrNoCredentials
	}
	reached, err := o.readers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(reached) != 2 || reached[0].sources[0].Err != nil || reached[0].way != wayExec {
		t.Fatalf("the good cluster: %+v", reached)
	}
	if err := reached[1].sources[0].Err; err == nil || !strings.Contains(err.Error(), "holds no key") {
		t.Errorf("the row of the other says %v", err)
	}
}
