package discover

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"
)

const (
	// pageSize keeps one answer of a big cluster small.
	pageSize = 500
	// answerWithin bounds every request: an API server whose etcd is gone accepts
	// requests and answers none.
	answerWithin = 10 * time.Second
	// cached asks the API server for what it has in memory, which needs no etcd.
	cached = "0"
)

// listing is what was seen in one place.
type listing struct {
	place
	pods  []corev1.Pod
	stale bool  // from the API server's cache, as etcd did not answer
	err   error // forbidden
}

// listPods lists the pods of all places at once. A place that is forbidden has err
// set; any other failure is returned.
func listPods(ctx context.Context, client Client, places []place) ([]listing, error) {
	found := make([]listing, len(places))
	group, ctx := errgroup.WithContext(ctx)
	for i, at := range places {
		group.Go(func() error {
			var err error
			found[i], err = listPlace(ctx, client, at)
			return err
		})
	}
	return found, group.Wait()
}

// listPlace lists one place, and again from the API server's cache when etcd does not
// answer: just then somebody wants to know about etcd.
func listPlace(ctx context.Context, client Client, at place) (listing, error) {
	found := listing{place: at}
	var err error
	if found.pods, err = listPages(ctx, client, at, ""); isUnanswered(ctx, err) {
		found.stale = true
		found.pods, err = listPages(ctx, client, at, cached)
	}
	if apierrors.IsForbidden(err) {
		found.err = fmt.Errorf("list pods in %s: %w", at.where(), err)
		return found, nil
	}
	if err != nil {
		return found, fmt.Errorf("list pods in %s: %w", at.where(), err)
	}
	return found, nil
}

func (p place) where() string {
	if p.namespace == "" {
		return "all namespaces"
	}
	return "namespace " + p.namespace
}

func listPages(ctx context.Context, client Client, at place, version string) ([]corev1.Pod, error) {
	page := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		return client.CoreV1().Pods(at.namespace).List(ctx, options)
	}
	pages := pager.New(page)
	pages.PageSize = pageSize
	list, _, err := pages.List(ctx, metav1.ListOptions{LabelSelector: at.selector, ResourceVersion: version})
	if err != nil {
		return nil, err
	}
	var pods []corev1.Pod
	err = meta.EachListItem(list, func(item runtime.Object) error {
		pod, ok := item.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("decode pod list: got %T", item)
		}
		pods = append(pods, *pod)
		return nil
	})
	return pods, err
}

// isUnanswered: the API server is there, but could not read in time, or at all.
func isUnanswered(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) || apierrors.IsTimeout(err) {
		return true
	}
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code >= http.StatusInternalServerError
}
