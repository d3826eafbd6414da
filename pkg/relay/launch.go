package relay

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// LogLine is the relay's only one: its key.
func LogLine(pin Pin) string { return podName + " key " + pin.String() }

// launch starts a pod and waits until its relay can be called. What it made it takes away
// again if that does not come to be.
func (r *Relay) launch(ctx context.Context) (_ *instance, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("%w in %s", errLate, startLimit))
	defer cancel()
	place := r.options.Place
	i := newInstance(podName, place)
	i.expires = time.Now().Add(r.options.Lifetime)
	defer func() { err = r.undo(ctx, i, err) }()
	if err := r.create(ctx, i, newPod(i.name, place, r.options.Image, r.key.Pin(), r.options.Lifetime)); err != nil {
		return nil, err
	}
	if err := r.awaitRunning(ctx, i); err != nil {
		return nil, err
	}
	pin, err := r.readPin(ctx, i)
	if err != nil {
		return nil, err
	}
	i.caller = Caller{Key: r.key, Relay: pin, Shown: r.options.Shown, Dial: func(ctx context.Context) (net.Conn, error) {
		return r.options.Dial(ctx, i.namespace, i.name, Port)
	}}
	r.log.Info("relay ready", "pod", i.name, "node", i.node, "key", pin.String())
	return i, nil
}

// readPin reads the relay's key from its log, and makes sure that the log was that pod's.
func (r *Relay) readPin(ctx context.Context, i *instance) (Pin, error) {
	for {
		raw, err := r.options.Client.CoreV1().Pods(i.namespace).GetLogs(i.name, &corev1.PodLogOptions{
			Container: container, LimitBytes: new(int64(1 << 10)),
		}).Do(ctx).Raw()
		if err != nil && ctx.Err() == nil {
			return Pin{}, fmt.Errorf("read log of pod %s/%s: %w", i.namespace, i.name, err)
		}
		if line, _, whole := strings.Cut(string(raw), "\n"); err == nil && whole {
			if _, err := r.get(ctx, i); err != nil {
				return Pin{}, err
			}
			return parseLogLine(line)
		}
		if !pause(ctx) {
			return Pin{}, fmt.Errorf("%w: it runs, but does not say its key", context.Cause(ctx))
		}
	}
}

func parseLogLine(line string) (Pin, error) {
	text, ok := strings.CutPrefix(line, podName+" key ")
	if !ok {
		return Pin{}, fmt.Errorf("the relay says %q instead of its key", line)
	}
	return ParsePin(text)
}
