package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// helperLife is when the kubelet ends a helper, whatever became of its caller.
	helperLife = 60 * time.Second
	// maxFile bounds a file that is read: a bundle of authorities may be long.
	maxFile = 1 << 20
)

// HelperOptions says which files to read, and with which image.
type HelperOptions struct {
	Place Place // Members and Peers mean nothing here
	// Image holds cat. It is not pulled unless Pull is set.
	Image  string
	Pull   bool
	Client Client
	// Exec runs argv in a container of a pod and writes its standard output to stdout.
	Exec func(ctx context.Context, namespace, pod, container string, argv []string, stdout io.Writer) error
	// Logger gets what is done, at info level; never what was read. Nil: nothing is logged.
	Logger *slog.Logger
}

// Files are what stands in the three files of a Place.
type Files struct{ CA, Cert, Key []byte }

// ReadFiles reads the files of options.Place through a pod on its node, which is gone when
// it returns, and deletes what earlier runs left. What it reads comes by exec's stream, past
// every log, and stays in memory. Errors are ErrNotStarted, those of Exec, and wrap the API
// server's.
func ReadFiles(ctx context.Context, options HelperOptions) (files *Files, err error) {
	if err := options.Place.validateFiles(); err != nil {
		return nil, errors.Join(ErrNotStarted, err)
	}
	h := &helper{keeper: newKeeper(options.Client, options.Logger), options: options}
	return h.run(ctx)
}

// helper is a pod that sleeps beside three files of its node.
type helper struct {
	keeper
	options HelperOptions
}

func (h *helper) run(ctx context.Context) (files *Files, err error) {
	i := newInstance(helperName, h.options.Place)
	if err := h.start(ctx, i); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.remove(ctx, i)) }()
	if err := sweep(ctx, h.client, i.namespace, i.created); err != nil {
		h.log.Warn("earlier pods are left", "error", err) // they serve nobody, and cost nothing
	}
	files = &Files{}
	for _, file := range []struct {
		name string
		into *[]byte
	}{{"ca", &files.CA}, {"cert", &files.Cert}, {"key", &files.Key}} {
		if *file.into, err = h.read(ctx, i, file.name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (h *helper) start(ctx context.Context, i *instance) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("%w in %s", errLate, startLimit))
	defer cancel()
	defer func() { err = h.undo(ctx, i, err) }()
	if err := h.create(ctx, i, h.pod(i.name)); err != nil {
		return err
	}
	return h.awaitRunning(ctx, i)
}

// pod runs cat, which waits for an input that never comes: no image needs to hold more.
func (h *helper) pod(name string) *corev1.Pod {
	pod := filesPod(name, helperName, h.options.Place, helperLife)
	c := &pod.Spec.Containers[0]
	c.Name, c.Image, c.ImagePullPolicy = helperName, h.options.Image, corev1.PullNever
	if h.options.Pull {
		c.ImagePullPolicy = corev1.PullIfNotPresent
	}
	c.Command, c.Stdin = []string{"cat"}, true
	return pod
}

func (h *helper) read(ctx context.Context, i *instance, name string) ([]byte, error) {
	var content limited
	err := h.options.Exec(ctx, i.namespace, i.name, helperName, []string{"cat", path.Join(inPod, name)}, &content)
	if err == nil && len(content.text) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s through pod %s/%s: %w", name, i.node, i.namespace, i.name, err)
	}
	return content.text, nil
}

// limited is a buffer for a file.
type limited struct{ text []byte }

func (l *limited) Write(p []byte) (int, error) {
	if len(l.text)+len(p) > maxFile {
		return 0, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	l.text = append(l.text, p...)
	return len(p), nil
}
