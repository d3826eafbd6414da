package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// leeway is how long after its end a pod may be seen to run: its clock starts at the
// kubelet, ours when it was created.
const leeway = 2 * time.Minute

// sweep deletes the relays that earlier runs left behind: those that have ended, and those
// that should have. A relay that may be another caller's living one it leaves alone. now
// is by the API server's clock, as the pods' times are.
func sweep(ctx context.Context, client Client, namespace string, now time.Time) error {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("list relays in %s: %w", namespace, err)
	}
	var errs []error
	for _, pod := range pods.Items {
		if !isLeft(&pod, now) {
			continue
		}
		if err := deletePod(ctx, client, pod.Namespace, pod.Name, pod.UID); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete pod %s/%s, which an earlier run left: %w", pod.Namespace, pod.Name, err))
		}
	}
	return errors.Join(errs...)
}

// isLeft tells that a relay serves nobody any more.
func isLeft(pod *corev1.Pod, now time.Time) bool {
	if pod.DeletionTimestamp != nil {
		return false // somebody does it already
	}
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return true
	}
	limit := pod.Spec.ActiveDeadlineSeconds
	return limit != nil && now.After(pod.CreationTimestamp.Add(time.Duration(*limit)*time.Second+leeway))
}

// deletePod deletes exactly that pod, if uid is given.
func deletePod(ctx context.Context, client Client, namespace, name string, uid types.UID) error {
	options := metav1.DeleteOptions{}
	if uid != "" {
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	err := client.CoreV1().Pods(namespace).Delete(ctx, name, options)
	if apierrors.IsConflict(err) { // another pod has the name now: ours is gone
		return apierrors.NewNotFound(corev1.Resource("pods"), name)
	}
	return err
}
