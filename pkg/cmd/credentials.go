package cmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

// tlsFiles are paths of PEM files; empty ones were not given.
type tlsFiles struct{ ca, cert, key string }

// pemBundle is certificates in memory, and for messages where each came from. Keys
// are never written anywhere.
type pemBundle struct {
	CA, Cert, Key             []byte
	FromCA, FromCert, FromKey string
}

func (b *pemBundle) empty() bool {
	return b == nil || len(b.CA) == 0 && len(b.Cert) == 0 && len(b.Key) == 0
}

func (f tlsFiles) empty() bool { return f == tlsFiles{} }

// credentials chooses the certificates for a cluster: flags, --cert-secret, etcdctl's
// environment, the Secrets that its distribution is known to have. Empty: none.
//
// ETCDCTL_ENDPOINTS is not read, on purpose: a variable that another shell left behind
// must not change which cluster is looked at, or backed up.
func (t *target) credentials(ctx context.Context, client kubeClient, cluster discover.Cluster) (*pemBundle, error) {
	if !needsCertificates(cluster) {
		return nil, nil
	}
	if t.certSecret == "" {
		if files := t.tlsFiles(); !files.empty() {
			return t.readGiven(files)
		}
	}
	secret, err := t.secrets(ctx, client, cluster, discover.CredentialOptions{Secret: t.certSecret})
	switch {
	case t.certSecret == "" && errors.Is(err, discover.ErrNoCredentials):
		return nil, nil
	case t.certSecret != "" && apierrors.IsNotFound(err):
		namespace, _, _ := strings.Cut(strings.Trim(t.certSecret, "/"), "/")
		return nil, withHint(fmt.Errorf("read etcd's certificates: %w", err), "see which there are: kubectl get secrets -n "+runbook.Quote(namespace))
	case err != nil:
		return nil, fmt.Errorf("read etcd's certificates: %w", err)
	}
	t.log.Info("use certificates", "from", secret.Source)
	bundle := &pemBundle{
		CA: secret.CA, Cert: secret.Cert, Key: secret.Key,
		FromCA: secret.Source, FromCert: secret.Source, FromKey: secret.Source,
	}
	return bundle, t.replaceCA(bundle)
}

// replaceCA lets --cacert complete a Secret, which often holds none.
func (t *target) replaceCA(bundle *pemBundle) error {
	if t.files.ca == "" {
		return nil
	}
	file, err := tlsFiles{ca: t.files.ca}.read()
	if err != nil {
		return err
	}
	bundle.CA, bundle.FromCA = file.CA, file.FromCA
	return nil
}

// tlsFiles are those of the flags; without any flag those of etcdctl's environment.
func (t *target) tlsFiles() tlsFiles {
	if !t.files.empty() {
		return t.files
	}
	return tlsFiles{t.getenv("ETCDCTL_CACERT"), t.getenv("ETCDCTL_CERT"), t.getenv("ETCDCTL_KEY")}
}

// readGiven reads them, and says so with -v.
func (t *target) readGiven(files tlsFiles) (*pemBundle, error) {
	if !files.empty() {
		t.log.Info("use certificates", "from", files.cert, "authority", files.ca)
	}
	return files.read()
}

// read reads the files that were given. One that holds nothing is an error, not one that
// was not given: without an authority the system's would do.
func (f tlsFiles) read() (*pemBundle, error) {
	b := &pemBundle{FromCA: f.ca, FromCert: f.cert, FromKey: f.key}
	for _, file := range []struct {
		what, path string
		into       *[]byte
	}{
		{"authority", f.ca, &b.CA}, {"client certificate", f.cert, &b.Cert}, {"client key", f.key, &b.Key},
	} {
		if file.path == "" {
			continue
		}
		data, err := os.ReadFile(file.path)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("read etcd's %s: %w", file.what, err)
		case err != nil:
			return nil, withHint(fmt.Errorf("read etcd's %s: %w", file.what, err), certFilesHint)
		}
		if len(data) == 0 {
			return nil, fmt.Errorf("read etcd's %s: %s is empty", file.what, file.path)
		}
		if block, _ := pem.Decode(data); block == nil {
			return nil, fmt.Errorf("read etcd's %s: %s holds nothing in PEM", file.what, file.path)
		}
		*file.into = data
	}
	return b, nil
}

// tlsConfig checks everything that can be known before dialing.
func (b *pemBundle) tlsConfig(now time.Time) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(b.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(b.CA) {
			return nil, withHint(fmt.Errorf("%s holds no PEM certificate", b.FromCA), certFilesHint)
		}
	}
	if len(b.Cert) == 0 && len(b.Key) == 0 {
		return config, nil
	}
	if len(b.Cert) == 0 || len(b.Key) == 0 {
		return nil, withHint(errors.New("a client certificate and its key go together, and one of them is missing"), certFilesHint)
	}
	pair, err := tls.X509KeyPair(b.Cert, b.Key)
	if err != nil {
		return nil, withHint(fmt.Errorf("client certificate %s with key %s: %s", b.FromCert, b.FromKey, strings.TrimPrefix(err.Error(), "tls: ")), certFilesHint)
	}
	switch leaf := pair.Leaf; {
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("%w: client certificate %s ended at %s", etcd.ErrExpired, b.FromCert, render.Time(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return nil, fmt.Errorf("%w: client certificate %s begins at %s", etcd.ErrExpired, b.FromCert, render.Time(leaf.NotBefore))
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// clientOptions are what all members of a cluster share.
func (t *target) clientOptions(bundle *pemBundle) (etcd.Options, error) {
	options := etcd.Options{Logger: t.log}
	if !bundle.empty() {
		config, err := bundle.tlsConfig(time.Now())
		if err != nil {
			return options, err
		}
		options.TLS = config
	}
	var err error
	options.Username, options.Password, err = t.login()
	return options, err
}

// login is etcd's user and password; a password never stands alone in a flag.
func (t *target) login() (user, password string, err error) {
	text := t.user
	if text == "" {
		text = t.getenv("ETCDCTL_USER")
	}
	if text == "" {
		return "", "", nil
	}
	user, password, given := strings.Cut(text, ":")
	if !given {
		password = t.getenv("ETCDCTL_PASSWORD")
	}
	if user == "" || password == "" {
		return "", "", usagef("--etcd-user needs a name and a password: NAME:PASSWORD, or NAME with ETCDCTL_PASSWORD")
	}
	return user, password, nil
}
