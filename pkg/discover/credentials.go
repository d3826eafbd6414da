package discover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ErrNoCredentials: no Secret holds a client certificate for the cluster.
var ErrNoCredentials = errors.New("no client certificate in a Secret")

// Secret is a client's certificate as PEM, in memory only. However it is printed,
// logged or encoded, only its source shows.
type Secret struct {
	Cert, Key []byte
	CA        []byte // what signed the servers' certificates; nil: not found
	Source    string // "secret openshift-etcd/etcd-client, configmap openshift-etcd/etcd-ca-bundle"
}

func (s Secret) String() string { return "client certificate of " + s.Source + " (redacted)" }

// Format prints String for every verb, so that no %+v shows the key.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// CredentialOptions say where to look first.
type CredentialOptions struct {
	// Secret is "namespace/name" of a Secret with the client's certificate and key.
	// Empty: the distribution's known Secrets, then those that the etcd pod mounts.
	Secret string
	// CA is "namespace/name" of the ConfigMap or Secret with the servers' CA, where
	// the Secret has none.
	CA string
}

// Key names in Secrets, most telling first. What etcd is served with is not among
// them: it comes by the pod's own paths.
var (
	pairNames = [][2]string{
		{"etcd-client.crt", "etcd-client.key"}, {"client.crt", "client.key"},
		{corev1.TLSCertKey, corev1.TLSPrivateKeyKey},
	}
	caNames = []string{
		"etcd-client-ca.crt", "etcd-ca.crt", "server-ca.crt", corev1.ServiceAccountRootCAKey,
		"ca-bundle.crt", "ca.pem",
	}
)

// Credentials reads a client certificate for cluster from Secrets: the one that options
// names, else those known for the distribution, else those behind the certificate
// paths of the etcd pod. Without any the error is ErrNoCredentials; one that may not
// be read wraps Kubernetes' Forbidden.
func Credentials(ctx context.Context, client Client, cluster Cluster, options CredentialOptions) (*Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	r := secretReader{client}
	found, err := r.find(ctx, cluster, options)
	if err != nil {
		return nil, err
	}
	if options.CA != "" {
		if err := r.addCA(ctx, found, options.CA); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// secretReader reads Secrets and ConfigMaps.
type secretReader struct{ client Client }

func (r secretReader) find(ctx context.Context, cluster Cluster, options CredentialOptions) (*Secret, error) {
	if options.Secret != "" {
		return r.named(ctx, options.Secret)
	}
	row := rowOf(cluster)
	for _, known := range row.secrets(cluster) {
		if found, err := r.known(ctx, known); !isAbsent(err) {
			return found, err
		}
	}
	return r.mounted(ctx, cluster, row)
}

// rowOf is the row that cluster was found by; generic for one that is not known.
func rowOf(cluster Cluster) distro {
	for _, row := range distros() {
		if row.id == cluster.Distro {
			return row
		}
	}
	return generic()
}

// isAbsent: there is no such Secret, or nothing in it yet, as cert-manager leaves it at first.
func isAbsent(err error) bool { return apierrors.IsNotFound(err) || errors.Is(err, ErrNoCredentials) }

// named reads the Secret that the user named; it must have a certificate and key.
func (r secretReader) named(ctx context.Context, reference string) (*Secret, error) {
	namespace, name, err := splitReference(reference)
	if err != nil {
		return nil, err
	}
	secret, err := r.secret(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	found := pairIn(secret)
	if found == nil {
		keys := strings.Join(slices.Sorted(maps.Keys(secret.Data)), ", ")
		return nil, fmt.Errorf("read secret %s: %w: its keys are [%s]", reference, ErrNoCredentials, keys)
	}
	return found, nil
}

func splitReference(reference string) (namespace, name string, err error) {
	namespace, name, ok := strings.Cut(reference, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return "", "", fmt.Errorf("parse %q: want namespace/name", reference)
	}
	return namespace, name, nil
}

func (r secretReader) known(ctx context.Context, at secretPlace) (*Secret, error) {
	secret, err := r.secret(ctx, at.namespace, at.secret)
	if err != nil {
		return nil, err
	}
	found := pairIn(secret)
	if at.cert != "" {
		found = pairAt(secret, at.cert, at.key)
	}
	if found == nil {
		return nil, fmt.Errorf("read secret %s/%s: %w", at.namespace, at.secret, ErrNoCredentials)
	}
	return found, r.addKnownCA(ctx, found, at)
}

// addKnownCA takes the CA from where at says; it stays the Secret's own where at says nothing.
func (r secretReader) addKnownCA(ctx context.Context, to *Secret, at secretPlace) error {
	switch {
	case at.caConfigMap != "":
		data, err := r.configMap(ctx, at.namespace, at.caConfigMap)
		return to.takeCA(data, "configmap "+at.namespace+"/"+at.caConfigMap, err)
	case at.caSecret != "":
		data, err := r.data(ctx, at.namespace, file{secret: at.caSecret})
		return to.takeCA(data, "secret "+at.namespace+"/"+at.caSecret, err)
	}
	return nil
}

// addCA takes the CA from a ConfigMap or, where there is none of that name, a Secret.
func (r secretReader) addCA(ctx context.Context, to *Secret, reference string) error {
	namespace, name, err := splitReference(reference)
	if err != nil {
		return err
	}
	data, err := r.configMap(ctx, namespace, name)
	if apierrors.IsNotFound(err) {
		data, err = r.data(ctx, namespace, file{secret: name})
		return to.takeCA(data, "secret "+reference, err)
	}
	return to.takeCA(data, "configmap "+reference, err)
}

// takeCA sets the CA to the one in data, which source gave, or failed to.
func (s *Secret) takeCA(data map[string][]byte, source string, err error) error {
	if err != nil {
		return err
	}
	ca := caIn(data)
	if ca == nil {
		return fmt.Errorf("read %s: no CA certificate under %s", source, strings.Join(caNames, ", "))
	}
	s.CA = ca
	s.Source += ", " + source
	return nil
}

// pairIn is the client certificate in secret, by the names of its keys; nil: none.
func pairIn(secret *corev1.Secret) *Secret {
	for _, names := range pairNames {
		if found := pairAt(secret, names[0], names[1]); found != nil {
			return found
		}
	}
	return nil
}

// pairAt is the client certificate under these keys of secret; nil: none.
func pairAt(secret *corev1.Secret, cert, key string) *Secret {
	if len(secret.Data[cert]) == 0 || len(secret.Data[key]) == 0 {
		return nil
	}
	return &Secret{Cert: secret.Data[cert], Key: secret.Data[key], CA: caIn(secret.Data), Source: sourceOf(secret)}
}

func sourceOf(secret *corev1.Secret) string { return "secret " + secret.Namespace + "/" + secret.Name }

func caIn(data map[string][]byte) []byte {
	for _, name := range caNames {
		if len(data[name]) > 0 {
			return data[name]
		}
	}
	return nil
}

func (r secretReader) secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	secret, err := r.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get secret %s/%s: %w", namespace, name, err)
	}
	return secret, nil
}

func (r secretReader) configMap(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	m, err := r.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get configmap %s/%s: %w", namespace, name, err)
	}
	data := make(map[string][]byte, len(m.Data)+len(m.BinaryData))
	maps.Copy(data, m.BinaryData)
	for name, value := range m.Data {
		data[name] = []byte(value)
	}
	return data, nil
}
