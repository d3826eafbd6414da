package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// reviewTimeout bounds the questions before the work: an API server that can't answer them
// may do the work all the same.
const reviewTimeout = 2 * time.Second

// right is what RBAC must allow: a verb on a resource, or on a subresource ("pods/exec"), of
// all names where there is none.
type right struct{ namespace, verb, resource, name string }

// needs are the rights that a way to the pods of a namespace takes. That pods can be listed
// there has shown by then. Over WebSocket exec and port-forward take get besides: without it
// the API server refuses, and SPDY comes next, which takes create alone.
func needs(w way, namespace string) []right {
	verbs := map[way][][2]string{
		wayExec:    {{"create", "pods/exec"}},
		wayForward: {{"create", "pods/portforward"}},
		wayRelay: {
			{"create", "pods"}, {"get", "pods"}, {"delete", "pods"},
			{"get", "pods/log"}, {"create", "pods/portforward"},
		},
		wayHelper: {
			{"create", "pods"}, {"get", "pods"}, {"delete", "pods"},
			{"create", "pods/exec"}, {"create", "pods/portforward"},
		},
	}
	var rights []right
	for _, need := range verbs[w] {
		rights = append(rights, right{namespace: namespace, verb: need[0], resource: need[1]})
	}
	return rights
}

// String is the right without its namespace.
func (r right) String() string { return strings.TrimSpace(r.verb + " " + r.resource + " " + r.name) }

// command checks the right.
func (r right) command() string {
	line := canI(r.verb, r.resource, r.namespace)
	if r.name == "" {
		return line
	}
	return strings.Replace(line, " "+r.resource+" ", " "+r.resource+"/"+r.name+" ", 1)
}

// preflight asks for all rights of a way before anything is done with the first of them.
// What gets no answer is left to the work itself.
func (t *target) preflight(ctx context.Context, client kubeClient, rights []right) error {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	refused := make([]bool, len(rights))
	var asking sync.WaitGroup
	for i, r := range rights {
		asking.Go(func() {
			allowed, err := r.allowed(ctx, client)
			if err != nil {
				t.log.Info("not known whether RBAC allows it", "right", r.String(), "namespace", r.namespace, "because", err)
				return
			}
			refused[i] = !allowed
		})
	}
	asking.Wait()
	return errMissing(rights, refused)
}

// errMissing names every right that is refused; nil: none is.
func errMissing(rights []right, refused []bool) error {
	var missing []right
	var hints []string
	for i, r := range rights {
		if refused[i] {
			missing = append(missing, r)
			hints = append(hints, "ask for this right, and check it with: "+r.command())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return withHint(fmt.Errorf("%w: RBAC does not let you %s", tunnel.ErrForbidden, listRights(missing)), hints...)
}

// listRights is "create pods, get pods in namespace a, get secrets x in namespace b".
func listRights(rights []right) string {
	var list strings.Builder
	for i, r := range rights {
		list.WriteString(r.String())
		if i+1 == len(rights) || rights[i+1].namespace != r.namespace {
			list.WriteString(" in namespace " + r.namespace)
		}
		if i+1 < len(rights) {
			list.WriteString(", ")
		}
	}
	return list.String()
}

// allowed asks the API server; an error: it did not say.
func (r right) allowed(ctx context.Context, client kubeClient) (bool, error) {
	resource, sub, _ := strings.Cut(r.resource, "/")
	review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: r.verb, Resource: resource, Subresource: sub, Name: r.name, Namespace: r.namespace,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	if !review.Status.Allowed && review.Status.EvaluationError != "" {
		return false, errors.New(review.Status.EvaluationError)
	}
	return review.Status.Allowed, nil
}
