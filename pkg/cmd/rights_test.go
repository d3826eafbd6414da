package cmd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// reviewer is an API server that knows which rights its caller lacks, as "verb resource".
// answer may change what it says.
func reviewer(answer func(*authorizationv1.SubjectAccessReviewStatus) error, lacks ...string) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		a := review.Spec.ResourceAttributes
		resource := a.Resource
		if a.Subresource != "" {
			resource += "/" + a.Subresource
		}
		review.Status.Allowed = !slices.Contains(lacks, a.Verb+" "+resource)
		if answer != nil {
			return true, review, answer(&review.Status)
		}
		return true, review, nil
	})
	return client
}

func TestPreflight(t *testing.T) {
	silent := func(*authorizationv1.SubjectAccessReviewStatus) error { return errors.New("etcdserver: no leader") }
	unsure := func(s *authorizationv1.SubjectAccessReviewStatus) error {
		s.EvaluationError = "webhook is down"
		return nil
	}
	const check = "ask for this right, and check it with: kubectl auth can-i "
	for _, test := range []struct {
		name   string
		client kubernetes.Interface
		rights []right
		hints  []string // none: it goes on
	}{
		{"all there", reviewer(nil), needs(wayRelay, "kube-system"), nil},
		{"what the way does not need", reviewer(nil, "create pods", "get pods/log"), needs(wayForward, "kube-system"), nil},
		{"no exec", reviewer(nil, "create pods/exec"), needs(wayExec, "kube-system"), []string{
			check + "create pods --subresource=exec -n kube-system"}},
		{"a relay could be made and not taken away", reviewer(nil, "delete pods", "get pods/log"), needs(wayRelay, "ns"), []string{
			check + "delete pods -n ns", check + "get pods --subresource=log -n ns"}},
		{"a Secret", reviewer(nil, "get secrets"), []right{{"ns", "get", "secrets", "etcd"}}, []string{check + "get secrets/etcd -n ns"}},
		{"no answer", reviewer(silent, "create pods/exec"), needs(wayExec, "kube-system"), nil},
		{"an authorizer that fails", reviewer(unsure, "create pods/exec"), needs(wayExec, "kube-system"), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _, _ := testSession(nil)
			target := newTarget(s)
			err := target.preflight(t.Context(), test.client, test.rights)
			if test.hints == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, tunnel.ErrForbidden) {
				t.Fatalf("error %v", err)
			}
			f := s.explain(err, "kubectl etcd status")
			if diff := cmp.Diff(test.hints, f.hints); diff != "" || f.code != exitError {
				t.Errorf("code %d, hints (-want +got):\n%s", f.code, diff)
			}
		})
	}
}

func TestListRights(t *testing.T) {
	got := listRights([]right{{"a", "create", "pods", ""}, {"a", "get", "pods/log", ""}, {"b", "get", "secrets", "x"}})
	if want := "create pods, get pods/log in namespace a, get secrets x in namespace b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An API server that hangs does not keep anybody from what it would let them do.
func TestPreflightWaitsNotLong(t *testing.T) {
	client := reviewer(func(*authorizationv1.SubjectAccessReviewStatus) error {
		time.Sleep(reviewTimeout / 10)
		return context.DeadlineExceeded
	}, "create pods/exec")
	s, _, _ := testSession(nil)
	target := newTarget(s)
	began := time.Now()
	if err := target.preflight(t.Context(), client, needs(wayExec, "x")); err != nil || time.Since(began) > 2*reviewTimeout {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// Nothing is created, and no pod is reached, for who lacks a right.
func TestNothingIsDoneWithoutTheRights(t *testing.T) {
	client := reviewer(nil, "delete pods", "create pods/exec")
	s, _, _ := testSession(nil)
	target := newTarget(s)
	target.startRelay = func(context.Context, relay.Options) (memberRelay, error) {
		t.Error("a relay was started")
		return nil, errors.New("untouched")
	}
	target.secrets = func(context.Context, discover.Client, discover.Cluster, discover.CredentialOptions) (*discover.Secret, error) {
		return nil, discover.ErrNoCredentials
	}
	cluster := tlsCluster
	cluster.Namespace = "kube-system"
	cluster.Pods = slices.Clone(cluster.Pods)
	for i := range cluster.Pods {
		cluster.Pods[i].NodeFiles = &discover.NodeFiles{CA: "/pki/ca.crt", Cert: "/pki/c.crt", Key: "/pki/c.key"}
		cluster.Pods[i].HostIP = "10.0.0.1"
	}
	k := &kubeTarget{client: client}
	if _, err := target.throughPods(t.Context(), k, cluster, true); err == nil || !strings.Contains(err.Error(), "create pods/exec in namespace kube-system") {
		t.Errorf("exec: %v", err)
	}
	target.relay.wanted = true
	if _, err := target.throughPods(t.Context(), k, cluster, true); err == nil || !strings.Contains(err.Error(), "delete pods in namespace kube-system") {
		t.Errorf("relay: %v", err)
	}
	for _, action := range client.Actions() {
		if action.GetResource().Resource != "selfsubjectaccessreviews" {
			t.Errorf("%s %s", action.GetVerb(), action.GetResource().Resource)
		}
	}
}
