package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// helperTarget is a target of a cluster whose nodes have images; what is read of a node is
// files, and counted.
func helperTarget(t *testing.T, cluster discover.Cluster, images []string, dialer podDialer, read *[]relay.HelperOptions) *target {
	t.Helper()
	authority := etcdtest.NewAuthority(t, "etcd-ca")
	pair := authority.Issue(etcdtest.Leaf{CommonName: "kube-etcd-healthcheck-client"})
	node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node0"}}
	node.APIVersion, node.Kind = "v1", "Node"
	node.Status.Images = []corev1.ContainerImage{{Names: images}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/v1/nodes/") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(node)
	}))
	t.Cleanup(server.Close)
	o := withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{cluster}}, dialer)
	o.interactive = func() bool { return false }
	o.readFiles = func(_ context.Context, options relay.HelperOptions) (*relay.Files, error) {
		*read = append(*read, options)
		return &relay.Files{CA: authority.PEM, Cert: pair.CertPEM, Key: pair.KeyPEM}, nil
	}
	return o
}

func noShell(tunnel.Pod, string, []string) (string, error) {
	return "", errors.New(`exec: "sh": executable file not found in $PATH`)
}

func TestHelperReach(t *testing.T) {
	var read []relay.HelperOptions
	o := helperTarget(t, relayCluster(), []string{"registry.k8s.io/etcd:3.7.3-0", "docker.io/library/busybox:1.35"}, execDialer{noShell}, &read)
	o.helper.wanted = true
	r, err := o.one(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.way != wayHelper || len(r.sources) != 3 || r.sources[0].Err != nil {
		t.Errorf("got %+v", r)
	}
	if len(read) != 1 || read[0].Place.Node != "node0" || read[0].Image != "docker.io/library/busybox:1.35" || read[0].Pull {
		t.Errorf("read %+v", read)
	}
	if said := o.ErrOut.(interface{ String() string }).String(); !strings.Contains(said, "certificate of node0") || strings.Contains(said, "PRIVATE") {
		t.Errorf("it says %q", said)
	}

	o.helper.image, o.helper.read = "example.com/cat:1", nil
	if _, err := o.one(t.Context()); err != nil || len(read) != 2 || read[1].Image != "example.com/cat:1" || !read[1].Pull {
		t.Errorf("an image that was named: %v, %+v", err, read)
	}
}

// Two etcds of the same nodes take one reading.
func TestHelperReadsOnceForTwoClusters(t *testing.T) {
	var read []relay.HelperOptions
	o := helperTarget(t, relayCluster(), []string{"docker.io/library/busybox:1"}, execDialer{noShell}, &read)
	find := o.find
	o.find = func(ctx context.Context, client discover.Client, options discover.Options) (*discover.Found, error) {
		found, err := find(ctx, client, options)
		events := relayCluster()
		events.Name = "events"
		found.Clusters = append(found.Clusters[:1:1], events)
		return found, err
	}
	o.helper.wanted = true
	reached, err := o.readers(t.Context())
	if err != nil || len(reached) != 2 || reached[1].way != wayHelper || len(read) != 1 {
		t.Errorf("%d clusters, read %d times, %v", len(reached), len(read), err)
	}
}

// A shell in the etcd pod makes a pod of ours needless.
func TestHelperByThePodsShell(t *testing.T) {
	authority := etcdtest.NewAuthority(t, "etcd-ca")
	pair := authority.Issue(etcdtest.Leaf{CommonName: "healthcheck"})
	dir := t.TempDir()
	files := discover.NodeFiles{CA: filepath.Join(dir, "ca.crt"), Cert: filepath.Join(dir, "a client.crt"), Key: filepath.Join(dir, "client.key")}
	for path, content := range map[string][]byte{files.CA: authority.PEM, files.Cert: pair.CertPEM, files.Key: pair.KeyPEM} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cluster := relayCluster()
	for i := range cluster.Pods {
		cluster.Pods[i].PodFiles, cluster.Pods[i].Ready = &files, true
	}
	var read []relay.HelperOptions
	dialer := execDialer{func(_ tunnel.Pod, _ string, argv []string) (string, error) {
		out, err := exec.Command(argv[0], argv[1:]...).Output() // a real shell, as in the pod
		return string(out), err
	}}
	o := helperTarget(t, cluster, nil, dialer, &read)
	o.helper.wanted = true
	r, err := o.one(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.way != wayHelper || len(read) > 0 {
		t.Errorf("got %s, read %+v", r.way, read)
	}
	got := o.readInPods(t.Context(), dialer, cluster)
	want := &pemBundle{
		CA: authority.PEM, Cert: pair.CertPEM, Key: pair.KeyPEM,
		FromCA: "node0:" + files.CA, FromCert: "node0:" + files.Cert, FromKey: "node0:" + files.Key,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bundle (-want +got):\n%s", diff)
	}
}

func TestHelperNeedsAnImage(t *testing.T) {
	var read []relay.HelperOptions
	o := helperTarget(t, relayCluster(), []string{"registry.k8s.io/etcd:3.7.3-0"}, execDialer{noShell}, &read)
	o.helper.wanted = true
	_, err := o.one(t.Context())
	f := o.explain(err, "kubectl etcd backup")
	if f.code != exitError || !strings.Contains(f.message, "no image") || !strings.Contains(strings.Join(f.hints, ""), "--helper-image") {
		t.Errorf("got %+v", f)
	}
	unknown := relayCluster()
	unknown.Pods[0].NodeFiles = nil
	o = helperTarget(t, unknown, []string{"docker.io/library/busybox:1"}, execDialer{noShell}, &read)
	o.helper.wanted = true
	if _, err := o.one(t.Context()); err == nil || !strings.Contains(err.Error(), "not known") || len(read) > 0 {
		t.Errorf("a distribution whose files nobody knows: %v", err)
	}
}

// An API server that can't read its etcd is no lack of an image.
func TestHelperWhereTheAPIServerFails(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusGatewayTimeout)
		_ = json.NewEncoder(w).Encode(metav1.Status{Status: metav1.StatusFailure, Code: http.StatusGatewayTimeout, Reason: metav1.StatusReasonTimeout, Message: "request did not complete within requested timeout"})
	}))
	t.Cleanup(server.Close)
	o := withKubernetes(t, server, &discover.Found{Clusters: []discover.Cluster{relayCluster()}}, execDialer{noShell})
	o.interactive, o.helper.wanted = func() bool { return false }, true
	_, err := o.one(t.Context())
	if f := o.explain(err, "kubectl etcd backup"); f.code != exitUnreachable || !strings.Contains(strings.Join(f.hints, "\n"), "--on-node") {
		t.Errorf("exit %d, %s, %q", f.code, f.message, f.hints)
	}
}

// Without a certificate and a relay's image, who sits at a terminal is asked.
func TestHelperIsAskedFor(t *testing.T) {
	for _, test := range []struct {
		name, answer, relayImage string
		interactive              bool
		reads, asks              bool
	}{
		{"yes", "y\n", "", true, true, true},
		{"no", "n\n", "", true, false, true},
		{"no terminal", "y\n", "", false, false, false},
		{"a relay would do, and was refused", "n\ny\n", "example.com/relay:1", true, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var read []relay.HelperOptions
			o := helperTarget(t, relayCluster(), []string{"docker.io/library/alpine:3"}, execDialer{noShell}, &read)
			o.relay.image = test.relayImage
			o.In, o.interactive = strings.NewReader(test.answer), func() bool { return test.interactive }
			r, err := o.one(t.Context())
			said := o.ErrOut.(interface{ String() string }).String()
			if (err == nil) != test.reads || (len(read) > 0) != test.reads {
				t.Errorf("read %d, %v", len(read), err)
			}
			if asked := strings.Contains(said, "Read them? [y/N]"); asked != test.asks {
				t.Errorf("asked %t: %s", asked, said)
			}
			if test.asks && (!strings.Contains(said, "healthcheck-client.key") || !strings.Contains(said, "alpine:3") || !strings.Contains(said, "node0")) {
				t.Errorf("it does not say what it would do: %s", said)
			}
			if r != nil {
				_ = r.Close()
			}
		})
	}
}

func TestImageWithCat(t *testing.T) {
	for want, names := range map[string][]string{
		"registry.k8s.io/busybox:1.35":                 {"registry.k8s.io/etcd:3.7.3-0", "registry.k8s.io/busybox:1.35"},
		"docker.io/library/alpine:3":                   {"docker.io/library/alpine@sha256:0000", "docker.io/library/alpine:3"},
		"docker.io/rancher/mirrored-library-busybox:1": {"docker.io/rancher/mirrored-library-busybox:1"},
		"docker.io/library/ubuntu:24.04":               {"example.com:5000/busybox:1", "docker.io/evil/busybox:1", "docker.io/library/busybox-x:1", "docker.io/library/ubuntu:24.04"},
		"quay.io/cilium/cilium:v1":                     {"quay.io/cilium/operator:v1", "quay.io/cilium/cilium:v1"},
		"":                                             {"registry.k8s.io/etcd:3.7.3-0", "ghcr.io/x/busybox:1", "example.com:5000/ubuntu:24.04", "docker.io/library/debian@sha256:0000", "busybox", "busybox:1"},
	} {
		images := []corev1.ContainerImage{}
		for _, name := range names {
			images = append(images, corev1.ContainerImage{Names: []string{name}})
		}
		if got := imageWithCat(images); got != want {
			t.Errorf("%v: got %q, want %q", names, got, want)
		}
	}
}

func TestHelperFlags(t *testing.T) {
	wantProblems(t, map[string]string{
		"--helper":                         "",
		"--helper --helper-image i":        "",
		"--helper --relay --relay-image i": "--relay",
		"--helper --endpoints h":           "--endpoints",
		"--helper --on-node":               "--on-node",
		"--helper --cert-secret a/b":       "--cert-secret",
		"--helper --cert c --key k":        "--cert",
		"--helper --cacert c":              "--cacert",
	})
}

// Who may exec, and make no pods, is served where the etcd pod has a shell; elsewhere every
// right that a helper takes is named.
func TestHelperWithoutTheRightToMakePods(t *testing.T) {
	client := reviewer(nil, "create pods", "delete pods")
	s, _, _ := testSession(nil)
	o := newTarget(s)
	o.timeout = 5 * time.Second
	o.readFiles = func(context.Context, relay.HelperOptions) (*relay.Files, error) {
		t.Error("a pod was made")
		return nil, errors.New("untouched")
	}
	k := &kubeTarget{client: client, dialer: execDialer{noShell}}
	if _, err := o.throughHelper(t.Context(), k, relayCluster()); err == nil ||
		!strings.Contains(err.Error(), "create pods, delete pods in namespace kube-system") {
		t.Errorf("without a shell: %v", err)
	}
	cluster := relayCluster()
	cluster.Pods[0].PodFiles, cluster.Pods[0].Ready = cluster.Pods[0].NodeFiles, true
	authority := etcdtest.NewAuthority(t, "ca")
	pair := authority.Issue(etcdtest.Leaf{})
	k.dialer = execDialer{func(_ tunnel.Pod, _ string, argv []string) (string, error) {
		switch path := argv[len(argv)-1]; {
		case strings.HasSuffix(path, ".key"):
			return string(pair.KeyPEM), nil
		case strings.HasSuffix(path, "client.crt"):
			return string(pair.CertPEM), nil
		}
		return string(authority.PEM), nil
	}}
	r, err := o.throughHelper(t.Context(), k, cluster)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
}
