package cmd

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
)

// A Secret that isn't there: the hint names its neighbours.
func TestCertSecretThatIsNotThere(t *testing.T) {
	s, _, _ := testSession(nil)
	o := newTarget(s)
	o.certSecret = "kube-system/nope"
	o.secrets = func(context.Context, discover.Client, discover.Cluster, discover.CredentialOptions) (*discover.Secret, error) {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "nope")
	}
	_, err := o.credentials(t.Context(), nil, tlsCluster)
	if f := s.explain(err, "kubectl etcd status"); len(f.hints) != 1 || !strings.HasSuffix(f.hints[0], "kubectl get secrets -n kube-system") {
		t.Errorf("%v: hints %q", err, f.hints)
	}
}
