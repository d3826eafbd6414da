package discover

import (
	"crypto/x509"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

// Each distribution's own Secret comes first, then those behind the paths of its pods, with the
// CA from where that distribution keeps it.
func TestCredentialsOfDistributions(t *testing.T) {
	both := string(newCertificate(t, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth))
	client := string(newCertificate(t, x509.ExtKeyUsageClientAuth))
	server := string(newCertificate(t, x509.ExtKeyUsageServerAuth))
	const shoot = "shoot--garden--prod"
	shootCA := newSecret(shoot, "ca-etcd-bundle-2f8c1d3a", "bundle.crt", "CA")
	for _, test := range []struct {
		name, fixture string
		secrets       []runtime.Object
		cert, source  string
	}{
		{"OpenShift, known", "openshift", []runtime.Object{
			newSecret("openshift-etcd", "etcd-client", "tls.crt", client, "tls.key", "K"),
			newConfigMap("openshift-etcd", "etcd-ca-bundle", "ca-bundle.crt", "CA"),
		}, client, "secret openshift-etcd/etcd-client, configmap openshift-etcd/etcd-ca-bundle"},
		{"HyperShift, known", "hypershift", []runtime.Object{
			newSecret("clusters-prod", "etcd-client-tls", "etcd-client.crt", client, "etcd-client.key", "K", "etcd-client-ca.crt", "older"),
			newSecret("clusters-prod", "etcd-server-tls", "server.crt", both, "server.key", "K"),
			newConfigMap("clusters-prod", "etcd-ca", "ca.crt", "CA"),
		}, client, "secret clusters-prod/etcd-client-tls, configmap clusters-prod/etcd-ca"},
		{"HyperShift, behind the paths", "hypershift", []runtime.Object{
			newSecret("clusters-prod", "etcd-server-tls", "server.crt", both, "server.key", "K"),
			newConfigMap("clusters-prod", "etcd-ca", "ca.crt", "CA"),
		}, both, "secret clusters-prod/etcd-server-tls"},
		{"etcd-druid, the client's before the server's", "druid", []runtime.Object{shootCA,
			newSecret(shoot, "etcd-client-9d2ab4f0", "tls.crt", client, "tls.key", "K"),
			newSecret(shoot, "etcd-server-main-5b1e0c77", "tls.crt", both, "tls.key", "K"),
		}, client, "secret " + shoot + "/etcd-client-9d2ab4f0"},
		{"etcd-druid, the server's", "druid", []runtime.Object{shootCA,
			newSecret(shoot, "etcd-server-main-5b1e0c77", "tls.crt", both, "tls.key", "K"),
		}, both, "secret " + shoot + "/etcd-server-main-5b1e0c77"},
		{"Kamaji, known", "kamaji", []runtime.Object{
			newSecret("kamaji-system", "kamaji-etcd-root-client-certs", "tls.crt", client, "tls.key", "K"),
			newSecret("kamaji-system", "kamaji-etcd-certs", "ca.crt", "CA", "ca.key", "never", "server.pem", both, "server-key.pem", "K"),
		}, client, "secret kamaji-system/kamaji-etcd-root-client-certs, secret kamaji-system/kamaji-etcd-certs"},
		{"Kamaji, by cert-manager", "kamaji", []runtime.Object{
			newSecret("kamaji-system", "kamaji-etcd-client-certs", "tls.crt", client, "tls.key", "K", "ca.crt", "CA"),
		}, client, "secret kamaji-system/kamaji-etcd-client-certs"},
		{"Kamaji, not made yet, behind the paths", "kamaji", []runtime.Object{
			newSecret("kamaji-system", "kamaji-etcd-client-certs"),
			newSecret("kamaji-system", "kamaji-etcd-certs", "ca.crt", "CA", "server.pem", both, "server-key.pem", "K"),
		}, both, "secret kamaji-system/kamaji-etcd-certs"},
		{"vcluster, known", "vcluster", []runtime.Object{
			newSecret("team-a", "dev-certs", "etcd-healthcheck-client.crt", client, "etcd-healthcheck-client.key", "K",
				"etcd-ca.crt", "CA", "ca.crt", "Kubernetes'", "etcd-server.crt", both, "etcd-server.key", "other"),
		}, client, "secret team-a/dev-certs"},
		{"vcluster, behind the paths", "vcluster", []runtime.Object{
			newSecret("team-a", "dev-certs", "etcd-ca.crt", "CA", "etcd-server.crt", both, "etcd-server.key", "K"),
		}, both, "secret team-a/dev-certs"},
		{"Bitnami, behind the paths", "bitnami", []runtime.Object{
			newSecret("store", "store-etcd-client-certs", "cert.pem", both, "key.pem", "K", "ca.crt", "CA"),
		}, both, "secret store/store-etcd-client-certs"},
		{"cozystack, known", "cozystack", []runtime.Object{
			newSecret("tenants", "tenant-operator-client-tls", "tls.crt", client, "tls.key", "K", "ca.crt", "CA"),
			newSecret("tenants", "tenant-server-tls", "tls.crt", server, "tls.key", "K", "ca.crt", "CA"),
		}, client, "secret tenants/tenant-operator-client-tls"},
		{"cozystack, behind the paths", "cozystack", []runtime.Object{
			newSecret("tenants", "tenant-server-tls", "tls.crt", both, "tls.key", "K", "ca.crt", "CA"),
		}, both, "secret tenants/tenant-server-tls"},
		{"Cilium, known", "cilium", []runtime.Object{
			newSecret("kube-system", "clustermesh-apiserver-admin-cert", "tls.crt", client, "tls.key", "K", "ca.crt", "CA"),
			newSecret("kube-system", "clustermesh-apiserver-server-cert", "tls.crt", both, "tls.key", "K", "ca.crt", "CA"),
		}, client, "secret kube-system/clustermesh-apiserver-admin-cert"},
	} {
		t.Run(test.name, func(t *testing.T) {
			objects := append(readFixture(t, test.fixture+"/cluster.yaml"), test.secrets...)
			found := mustFind(t, Options{All: true}, objects...)
			got, err := Credentials(t.Context(), fake.NewClientset(objects...), found.Clusters[0], CredentialOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Cert) != test.cert || string(got.Key) != "K" || string(got.CA) != "CA" || got.Source != test.source {
				t.Errorf("got key %q, CA %q, source %q", got.Key, got.CA, got.Source)
			}
		})
	}
}

// Without the right to read ConfigMaps the sidecar of etcd-druid still tells the paths.
func TestDruidCredentialsWithoutConfigMaps(t *testing.T) {
	cert := string(newCertificate(t, x509.ExtKeyUsageClientAuth))
	objects := append(readFixture(t, "druid/cluster.yaml"),
		newSecret("shoot--garden--prod", "ca-etcd-bundle-2f8c1d3a", "bundle.crt", "CA"),
		newSecret("shoot--garden--prod", "etcd-client-9d2ab4f0", "tls.crt", cert, "tls.key", "K"))
	client := fake.NewClientset(objects...)
	forbid(client, "get", "configmaps", "")
	found, err := Find(t.Context(), client, Options{All: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Credentials(t.Context(), client, found.Clusters[0], CredentialOptions{})
	if err != nil || string(got.Cert) != cert || string(got.CA) != "CA" {
		t.Errorf("got %v, error: %v", got, err)
	}
}

// Where no Secret holds a client's certificate, or none is needed, the error says so.
func TestDistributionsWithoutSecrets(t *testing.T) {
	for _, dir := range []string{
		"kubeadm", "kubeadm-events", "kubeadm-ipv6", "capi", "kind", "minikube", "rke2", "kops", "apisix", "milvus", "etcd-operator",
	} {
		objects := readFixture(t, dir+"/cluster.yaml")
		for _, cluster := range mustFind(t, Options{All: true}, objects...).Clusters {
			if got, err := Credentials(t.Context(), fake.NewClientset(objects...), cluster, CredentialOptions{}); !isNoCredentials(err) {
				t.Errorf("%s, %s: got %v, error: %v", dir, cluster.Name, got, err)
			}
		}
	}
}

// A refusal is no absence: whoever may not read the Secret must be told.
func TestForbiddenOfDistributions(t *testing.T) {
	for _, dir := range []string{"openshift", "hypershift", "druid", "kamaji", "vcluster", "bitnami", "cozystack", "cilium"} {
		objects := readFixture(t, dir+"/cluster.yaml")
		client := fake.NewClientset(objects...)
		forbid(client, "get", "secrets", "")
		found := mustFind(t, Options{All: true}, objects...)
		if got, err := Credentials(t.Context(), client, found.Clusters[0], CredentialOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, error: %v", dir, got, err)
		}
	}
}
