package cmd

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

// nodeCredentials chooses the certificates on a node: flags, etcdctl's environment, then
// the first of the node's own that is good for a client now. notes tell what is wrong
// with them, and about to be.
func (t *target) nodeCredentials(cluster discover.LocalCluster) (bundle *pemBundle, notes []string, err error) {
	if !needsCertificates(cluster.Cluster) {
		return nil, nil, nil
	}
	if files := t.tlsFiles(); !files.empty() {
		bundle, err = t.readGiven(files)
		return bundle, nil, err
	}
	now := time.Now()
	var failures []error
	for _, known := range cluster.Certificates {
		files := tlsFiles{ca: known.CA, cert: known.Cert, key: known.Key}
		bundle, err := files.forClient(now)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return nil, nil, withHint(err, asRootHint)
		case err != nil && len(failures) > 0 && failures[len(failures)-1].Error() == err.Error(): // the authority's, which all share
		case err != nil:
			failures = append(failures, err)
		default:
			t.log.Info("use certificates", "from", files.cert)
			return bundle, append(notesOf(failures), files.notes()...), nil
		}
	}
	return nil, nil, noneOnNode(cluster, failures)
}

// forClient reads the files where they are good for a client now.
func (f tlsFiles) forClient(now time.Time) (*pemBundle, error) {
	bundle, err := f.read()
	if err != nil {
		return nil, err
	}
	config, err := bundle.tlsConfig(now)
	if err != nil {
		return nil, err
	}
	leaf := config.Certificates[0].Leaf
	good := len(leaf.ExtKeyUsage) == 0 || slices.ContainsFunc(leaf.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny
	})
	if !good {
		return nil, fmt.Errorf("certificate %s is not for clients", f.cert)
	}
	return bundle, nil
}

// notes are what an administrator should know of files that are used.
func (f tlsFiles) notes() []string {
	info, err := os.Stat(f.key)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("others than its owner may read the key %s (mode %04o): chmod 600 %s",
		f.key, info.Mode().Perm(), runbook.Quote(f.key))}
}

// notesOf are the failures that a person would want to mend: a file that just is not
// there is none.
func notesOf(failures []error) []string {
	var notes []string
	for _, err := range failures {
		if !errors.Is(err, fs.ErrNotExist) {
			notes = append(notes, "not used: "+err.Error())
		}
	}
	return notes
}

func noneOnNode(cluster discover.LocalCluster, failures []error) error {
	if len(failures) == 0 {
		return withHint(fmt.Errorf("etcd %q wants a client certificate, and %s names none", cluster.Name, cluster.Manifest),
			"give --cacert, --cert and --key (or ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY)")
	}
	err := fmt.Errorf("none of this node's client certificates for etcd %q can be used: %w", cluster.Name, errors.Join(failures...))
	if hints := plainHints(err); hints != nil {
		return withHint(err, hints...)
	}
	return withHint(err, "give --cacert, --cert and --key (or ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY); "+kubeadmCerts)
}
