package discover

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

// newCertificate is a self-signed certificate for usages, as PEM.
func newCertificate(t *testing.T, usages ...x509.ExtKeyUsage) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), ExtKeyUsage: usages}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// newSecret makes a Secret of key, value, key, value, …
func newSecret(namespace, name string, pairs ...string) *corev1.Secret {
	data := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = []byte(pairs[i+1])
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}
}

func newConfigMap(namespace, name, key, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{key: value}}
}

func TestCredentials(t *testing.T) {
	server := string(newCertificate(t, x509.ExtKeyUsageServerAuth))
	both := string(newCertificate(t, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth))
	client := string(newCertificate(t, x509.ExtKeyUsageClientAuth))
	shopCA := newConfigMap("shop", "shop-etcd-ca", "bundle.pem", "CA")
	for _, test := range []struct {
		name      string
		fixture   string
		namespace string
		options   CredentialOptions
		objects   []runtime.Object
		want      Secret
	}{
		{"named, kubernetes.io/tls", "kubeadm", "", CredentialOptions{Secret: "a/b"},
			[]runtime.Object{newSecret("a", "b", "tls.crt", "C", "tls.key", "K", "ca.crt", "CA")},
			Secret{[]byte("C"), []byte("K"), []byte("CA"), "secret a/b"}},
		{"named, etcd-client", "kubeadm", "", CredentialOptions{Secret: "a/b"},
			[]runtime.Object{newSecret("a", "b", "etcd-client.crt", "C", "etcd-client.key", "K", "etcd-client-ca.crt", "CA", "tls.crt", "x")},
			Secret{[]byte("C"), []byte("K"), []byte("CA"), "secret a/b"}},
		{"named, the CA in a ConfigMap", "kubeadm", "", CredentialOptions{Secret: "a/b", CA: "a/c"},
			[]runtime.Object{newSecret("a", "b", "client.crt", "C", "client.key", "K"), newConfigMap("a", "c", "ca.crt", "CA")},
			Secret{[]byte("C"), []byte("K"), []byte("CA"), "secret a/b, configmap a/c"}},
		{"named, the CA in a Secret", "kubeadm", "", CredentialOptions{Secret: "a/b", CA: "a/c"},
			[]runtime.Object{newSecret("a", "b", "client.crt", "C", "client.key", "K"), newSecret("a", "c", "ca.crt", "CA")},
			Secret{[]byte("C"), []byte("K"), []byte("CA"), "secret a/b, secret a/c"}},
		{"named, no CA", "kubeadm", "", CredentialOptions{Secret: "a/b"},
			[]runtime.Object{newSecret("a", "b", "client.crt", "C", "client.key", "K")},
			Secret{[]byte("C"), []byte("K"), nil, "secret a/b"}},
		{"OpenShift's own", "openshift", "", CredentialOptions{}, []runtime.Object{
			newSecret("openshift-etcd", "etcd-client", "tls.crt", "C", "tls.key", "K"),
			newConfigMap("openshift-etcd", "etcd-ca-bundle", "ca-bundle.crt", "CA"),
		}, Secret{[]byte("C"), []byte("K"), []byte("CA"), "secret openshift-etcd/etcd-client, configmap openshift-etcd/etcd-ca-bundle"}},
		{"the server's, good for both sides", "generic", "shop", CredentialOptions{}, []runtime.Object{
			newSecret("shop", "shop-etcd-server", "tls.crt", both, "tls.key", "K", "ca.crt", "other"),
			newSecret("shop", "shop-etcd-client", "tls.crt", client, "tls.key", "K2"), shopCA,
		}, Secret{[]byte(both), []byte("K"), []byte("CA"), "secret shop/shop-etcd-server"}},
		{"the client's beside it", "generic", "shop", CredentialOptions{}, []runtime.Object{
			newSecret("shop", "shop-etcd-server", "tls.crt", server, "tls.key", "K"),
			newSecret("shop", "shop-etcd-client", "tls.crt", client, "tls.key", "K2"), shopCA,
		}, Secret{[]byte(client), []byte("K2"), []byte("CA"), "secret shop/shop-etcd-client"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			objects := append(readFixture(t, test.fixture+"/cluster.yaml"), test.objects...)
			found := mustFind(t, Options{Namespace: test.namespace}, objects...)
			got, err := Credentials(t.Context(), fake.NewClientset(objects...), found.Clusters[0], test.options)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Cert, test.want.Cert) || !bytes.Equal(got.Key, test.want.Key) ||
				!bytes.Equal(got.CA, test.want.CA) || got.Source != test.want.Source {
				t.Errorf("got cert %q, key %q, CA %q, source %q", got.Cert, got.Key, got.CA, got.Source)
			}
		})
	}
}

func TestNoCredentials(t *testing.T) {
	server := string(newCertificate(t, x509.ExtKeyUsageServerAuth))
	for _, test := range []struct {
		name      string
		fixture   string
		namespace string
		options   CredentialOptions
		objects   []runtime.Object
		is        func(error) bool
		says      string
	}{
		{"kubeadm has none", "kubeadm", "", CredentialOptions{}, nil, isNoCredentials, "kube-system/etcd-node0"},
		{"named, absent", "kubeadm", "", CredentialOptions{Secret: "a/b"}, nil, apierrors.IsNotFound, "get secret a/b"},
		{"named, other keys", "kubeadm", "", CredentialOptions{Secret: "a/b"},
			[]runtime.Object{newSecret("a", "b", "password", "hidden", "tls.crt", "C")}, isNoCredentials, "[password, tls.crt]"},
		{"named badly", "kubeadm", "", CredentialOptions{Secret: "b"}, nil, isAny, "want namespace/name"},
		{"the CA absent", "kubeadm", "", CredentialOptions{Secret: "a/b", CA: "a/c"},
			[]runtime.Object{newSecret("a", "b", "tls.crt", "C", "tls.key", "K")}, apierrors.IsNotFound, "a/c"},
		{"only for servers", "generic", "shop", CredentialOptions{}, []runtime.Object{
			newSecret("shop", "shop-etcd-server", "tls.crt", server, "tls.key", "K"),
			newSecret("shop", "shop-etcd-client", "other", "x"),
		}, isNoCredentials, "shop/shop-etcd-0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			objects := append(readFixture(t, test.fixture+"/cluster.yaml"), test.objects...)
			found := mustFind(t, Options{Namespace: test.namespace}, objects...)
			got, err := Credentials(t.Context(), fake.NewClientset(objects...), found.Clusters[0], test.options)
			if got != nil || err == nil || !test.is(err) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, error: %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error shows what a Secret holds: %v", err)
			}
		})
	}
}

func isNoCredentials(err error) bool { return errors.Is(err, ErrNoCredentials) }

func isAny(error) bool { return true }

func TestCredentialsForbidden(t *testing.T) {
	objects := readFixture(t, "openshift/cluster.yaml")
	client := fake.NewClientset(objects...)
	forbid(client, "get", "secrets", "")
	found := mustFind(t, Options{}, objects...)
	if _, err := Credentials(t.Context(), client, found.Clusters[0], CredentialOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("error: %v", err)
	}
}

// Whatever is done to print a Secret, the key stays out of it.
func TestSecretIsRedacted(t *testing.T) {
	secret := Secret{Cert: []byte("CERT"), Key: []byte("PRIVATE"), CA: []byte("CA"), Source: "secret a/b"}
	inside := struct {
		Secret  Secret
		Pointer *Secret
	}{secret, &secret}
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, nil))
	logger.Info("x", "secret", secret, "pointer", &secret, "inside", inside)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", secret, "inside", inside)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, secret, &secret, inside)
	}
	if err := json.NewEncoder(&out).Encode(inside); err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{"PRIVATE", fmt.Sprintf("%x", "PRIVATE"), "UFJJVkFURQ", "80 82 73", "0x50, 0x52"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q in %s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), "secret a/b") {
		t.Error("the source is missing")
	}
}

func TestFileAt(t *testing.T) {
	pod := &corev1.Pod{}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "plain"}}},
		{Name: "p", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "map"}, Items: []corev1.KeyToPath{{Key: "bundle", Path: "ca/ca.crt"}},
			}},
			{Secret: &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "projected"}, Items: []corev1.KeyToPath{{Key: "c", Path: "tls.crt"}},
			}},
		}}}},
		{Name: "h", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/pki"}}},
	}
	container := &corev1.Container{VolumeMounts: []corev1.VolumeMount{
		{Name: "s", MountPath: "/certs/"}, {Name: "s", MountPath: "/one/file.crt", SubPath: "tls.crt"},
		{Name: "p", MountPath: "/projected"}, {Name: "h", MountPath: "/host"}, {Name: "missing", MountPath: "/missing"},
	}}
	for name, want := range map[string]file{
		"/certs/tls.crt":       {secret: "plain", key: "tls.crt"},
		"/certs//tls.crt":      {secret: "plain", key: "tls.crt"},
		"/one/file.crt":        {secret: "plain", key: "tls.crt"},
		"/projected/tls.crt":   {secret: "projected", key: "c"},
		"/projected/ca/ca.crt": {configMap: "map", key: "bundle"},
		"/projected/other.crt": {},
		"/certs-other/tls.crt": {},
		"/certs.pem":           {},
		"/host/tls.crt":        {},
		"/missing/tls.crt":     {},
		"":                     {},
	} {
		if got, ok := fileAt(pod, container, name); got != want || ok != (want != file{}) {
			t.Errorf("%q: %+v, %v", name, got, ok)
		}
	}
}
