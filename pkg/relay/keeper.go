package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// startLimit bounds how long a pod may take to run, and to say its key.
	startLimit = 60 * time.Second
	// goneLimit bounds how long a deleted pod is waited for.
	goneLimit = 15 * time.Second
	// answerLimit is how much longer than its run a pod's creation may take.
	answerLimit = 5 * time.Second
	pollEvery   = 200 * time.Millisecond
)

// keeper makes pods of ours, watches them start and takes them away.
type keeper struct {
	client Client
	log    *slog.Logger
}

func newKeeper(client Client, log *slog.Logger) keeper {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return keeper{client, log}
}

// instance is one pod of ours.
type instance struct {
	namespace, name, node string
	uid                   types.UID
	created               time.Time // by the API server's clock
	expires               time.Time // by ours
	caller                Caller    // of a relay
}

func newInstance(prefix string, place Place) *instance {
	return &instance{namespace: place.Namespace, name: prefix + "-" + strings.ToLower(rand.Text()[:10]), node: place.Node}
}

// create makes the pod. An interrupt does not end it at once: a pod whose UID is not known,
// or that comes after it was looked for, can't be taken away for sure.
func (k keeper) create(ctx context.Context, i *instance, pod *corev1.Pod) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := outlive(ctx, answerLimit)
	defer cancel()
	created, err := k.client.CoreV1().Pods(i.namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create pod %s/%s: %w", i.namespace, i.name, err)
	}
	i.uid, i.created = created.UID, created.CreationTimestamp.Time
	k.log.Info("pod created", "pod", i.name, "node", i.node)
	return nil
}

// outlive is ctx, but ends later than it.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(by, func() { cancel(context.Cause(ctx)) })
	})
	return longer, func() {
		stop()
		cancel(nil)
	}
}

// undo takes away what was made for nothing, and says so of err; nil: it was not for nothing.
func (k keeper) undo(ctx context.Context, i *instance, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%w on %s: %w", ErrNotStarted, i.node, err)
	if i.uid != "" || !isRefusal(err) {
		err = errors.Join(err, k.remove(ctx, i))
	}
	return err
}

// errLate is why a pod that takes too long is given up.
var errLate = errors.New("it does not run")

// get reads the pod, and refuses another one of the same name. Where no answer told its
// UID, the name decides: it is a random one.
func (k keeper) get(ctx context.Context, i *instance) (*corev1.Pod, error) {
	pod, err := k.client.CoreV1().Pods(i.namespace).Get(ctx, i.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get pod %s/%s: %w", i.namespace, i.name, err)
	}
	if i.uid != "" && pod.UID != i.uid || pod.Spec.NodeName != i.node {
		return nil, fmt.Errorf("%w: pod %s/%s has UID %s on node %s, and not %s on %s",
			ErrForeign, i.namespace, i.name, pod.UID, pod.Spec.NodeName, i.uid, i.node)
	}
	return pod, nil
}

func (k keeper) awaitRunning(ctx context.Context, i *instance) error {
	reason := "nothing is known of it"
	for {
		pod, err := k.get(ctx, i)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err == nil:
			state := describe(pod)
			if state.running || state.final {
				return state.err()
			}
			reason = state.reason
		}
		if !pause(ctx) {
			return fmt.Errorf("%w: %s", context.Cause(ctx), k.lastWarning(ctx, i, reason))
		}
	}
}

// pause waits a moment; false: ctx has ended.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// podState is what matters of a pod's state.
type podState struct {
	running, final bool   // final: it will not run any more
	reason         string // why it does not run
}

func (s podState) err() error {
	if s.running {
		return nil
	}
	return errors.New(s.reason)
}

// hopeless are the kubelet's reasons for a container that waits in vain
// (pkg/kubelet/images/types.go, pkg/kubelet/kuberuntime/kuberuntime_container.go).
var hopeless = []string{
	"ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError",
	"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff",
}

func describe(pod *corev1.Pod) podState {
	s := podState{
		running: pod.Status.Phase == corev1.PodRunning,
		final:   pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded,
		reason:  strings.TrimSpace(pod.Status.Reason + " " + pod.Status.Message),
	}
	for _, status := range pod.Status.ContainerStatuses {
		switch {
		case status.State.Waiting != nil:
			s.running = false
			s.final = s.final || slices.Contains(hopeless, status.State.Waiting.Reason)
			s.reason = strings.TrimSuffix(status.State.Waiting.Reason+": "+status.State.Waiting.Message, ": ")
		case status.State.Terminated != nil:
			s.running, s.final = false, true
			s.reason = "it ended: " + strings.TrimSpace(status.State.Terminated.Reason+" "+status.State.Terminated.Message)
		}
	}
	if s.reason == "" {
		s.reason = "it is " + string(pod.Status.Phase)
	}
	return s
}

// lastWarning is what the cluster's events say of a pod that does not start, as that a
// file to mount is not there; else what was known before.
func (k keeper) lastWarning(ctx context.Context, i *instance, known string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	events, err := k.client.CoreV1().Events(i.namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.uid": string(i.uid), "type": corev1.EventTypeWarning}.String(),
	})
	if err != nil || len(events.Items) == 0 {
		return known
	}
	return events.Items[len(events.Items)-1].Message
}

// remove deletes the pod and waits until it is gone. It outlives ctx, for a while: what
// was made must not stay when a run is interrupted.
func (k keeper) remove(ctx context.Context, i *instance) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneLimit)
	defer cancel()
	err := deletePod(ctx, k.client, i.namespace, i.name, i.uid)
	for err == nil {
		_, err = k.get(ctx, i)
		if err == nil && !pause(ctx) {
			err = ctx.Err()
		}
	}
	if notThere(err) {
		return nil
	}
	return fmt.Errorf("delete pod %s/%s (it ends by itself): %w", i.namespace, i.name, err)
}

// notThere tells that the pod does not exist any more; another one of its name is not ours.
func notThere(err error) bool { return apierrors.IsNotFound(err) || errors.Is(err, ErrForeign) }

// isRefusal tells that the API server's answer is a no: what it was asked for was not done.
// Where it came to no end with it in time, that is not known; and what has a random name of
// ours already was made by a try before, for client-go asks again by itself.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	open := apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsInternalError(err) || apierrors.IsAlreadyExists(err)
	return errors.As(err, &status) && !open
}
