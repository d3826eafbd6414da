package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// helperSite is an API server whose pods are in state as soon as they are made, and what a
// helper's exec finds there.
type helperSite struct {
	*fake.Clientset
	made  []*corev1.Pod
	files map[string]string // by path in the pod
	log   bytes.Buffer
}

func newHelperSite(state corev1.PodStatus, left ...runtime.Object) *helperSite {
	s := &helperSite{Clientset: fake.NewClientset(left...), files: map[string]string{
		"/etcd/ca": "the authority", "/etcd/cert": "the certificate", "/etcd/key": "the key",
	}}
	s.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		pod := action.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
		pod.UID, pod.CreationTimestamp, pod.Status = "new", metav1.Now(), state
		s.made = append(s.made, pod.DeepCopy())
		return false, nil, nil
	})
	return s
}

func (s *helperSite) options() HelperOptions {
	pki := "/etc/kubernetes/pki/etcd/"
	return HelperOptions{
		Place: Place{Namespace: "kube-system", Node: "node0", CA: pki + "ca.crt", Cert: pki + "healthcheck-client.crt", Key: pki + "healthcheck-client.key"},
		Image: "busybox:1", Client: s, Exec: s.exec, Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
	}
}

func (s *helperSite) exec(ctx context.Context, namespace, pod, container string, argv []string, stdout io.Writer) error {
	if len(argv) != 2 || argv[0] != "cat" || container != helperName {
		return errors.New("unexpected: " + strings.Join(argv, " "))
	}
	if _, err := s.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{}); err != nil {
		return err
	}
	content, ok := s.files[argv[1]]
	if !ok {
		return errors.New("no such file")
	}
	_, err := io.WriteString(stdout, content)
	return err
}

func (s *helperSite) left(t *testing.T) (names []string) {
	t.Helper()
	pods, err := s.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		names = append(names, pod.Name)
	}
	return names
}

var running = corev1.PodStatus{Phase: corev1.PodRunning}

func TestReadFiles(t *testing.T) {
	s := newHelperSite(running)
	got, err := ReadFiles(t.Context(), s.options())
	if err != nil {
		t.Fatal(err)
	}
	want := &Files{CA: []byte("the authority"), Cert: []byte("the certificate"), Key: []byte("the key")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if left := s.left(t); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if strings.Contains(s.log.String(), "the key") {
		t.Errorf("the log: %s", &s.log)
	}
}

// The pod may read three files and nothing else, and ends by itself.
func TestHelperPod(t *testing.T) {
	s := newHelperSite(running)
	if _, err := ReadFiles(t.Context(), s.options()); err != nil {
		t.Fatal(err)
	}
	spec := s.made[0].Spec
	var paths []string
	for _, volume := range spec.Volumes {
		if volume.HostPath == nil || *volume.HostPath.Type != corev1.HostPathFile {
			t.Errorf("volume %+v is no file", volume)
			continue
		}
		paths = append(paths, volume.HostPath.Path)
	}
	pki := "/etc/kubernetes/pki/etcd/"
	if diff := cmp.Diff([]string{pki + "ca.crt", pki + "healthcheck-client.crt", pki + "healthcheck-client.key"}, paths); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	c := spec.Containers[0]
	if len(c.VolumeMounts) != 3 || !c.VolumeMounts[2].ReadOnly || *c.SecurityContext.AllowPrivilegeEscalation ||
		len(c.SecurityContext.Capabilities.Drop) != 1 || !*c.SecurityContext.ReadOnlyRootFilesystem ||
		*spec.AutomountServiceAccountToken || spec.HostNetwork || spec.NodeName != "node0" {
		t.Errorf("it may do more than it should: %+v", spec)
	}
	if *spec.ActiveDeadlineSeconds != 60 || c.ImagePullPolicy != corev1.PullNever || c.Image != "busybox:1" {
		t.Errorf("deadline %d, image %s %s", *spec.ActiveDeadlineSeconds, c.Image, c.ImagePullPolicy)
	}
	options := s.options()
	options.Pull = true
	if _, err := ReadFiles(t.Context(), options); err != nil || s.made[1].Spec.Containers[0].ImagePullPolicy != corev1.PullIfNotPresent {
		t.Errorf("an image that may be pulled: %v, %+v", err, s.made[1].Spec.Containers[0])
	}
}

// Whatever goes wrong, no pod is left.
func TestHelperLeavesNothing(t *testing.T) {
	waiting := corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImageNeverPull", Message: "busybox:1 is not there"}},
	}}}
	for _, test := range []struct {
		name   string
		state  corev1.PodStatus
		change func(*helperSite)
		want   string
	}{
		{"no image", waiting, nil, "ErrImageNeverPull"},
		{"a file is missing", running, func(s *helperSite) { delete(s.files, "/etcd/key") }, "read key of node0"},
		{"a file is empty", running, func(s *helperSite) { s.files["/etcd/cert"] = "" }, "it is empty"},
		{"a file is too long", running, func(s *helperSite) { s.files["/etcd/ca"] = strings.Repeat("x", maxFile+1) }, "longer than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newHelperSite(test.state)
			if test.change != nil {
				test.change(s)
			}
			files, err := ReadFiles(t.Context(), s.options())
			if err == nil || files != nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, %v, want %q", files, err, test.want)
			}
			if left := s.left(t); len(s.made) != 1 || len(left) > 0 {
				t.Errorf("made %d, left %v", len(s.made), left)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		s := newHelperSite(running)
		ctx, cancel := context.WithCancel(t.Context())
		options := s.options()
		options.Exec = func(ctx context.Context, _, _, _ string, _ []string, _ io.Writer) error {
			cancel()
			return ctx.Err()
		}
		if _, err := ReadFiles(ctx, options); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if left := s.left(t); len(s.made) != 1 || len(left) > 0 {
			t.Errorf("made %d, left %v", len(s.made), left)
		}
	})
}

// What a run that was killed left goes with the next one; another caller's stays.
func TestHelperSweeps(t *testing.T) {
	old := func(name string, phase corev1.PodPhase, age time.Duration) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: "kube-system", UID: types.UID(name), CreationTimestamp: metav1.NewTime(time.Now().Add(-age)),
				Labels: map[string]string{nameLabel: helperName, managedLabel: managedBy},
			},
			Spec:   corev1.PodSpec{ActiveDeadlineSeconds: new(int64(60))},
			Status: corev1.PodStatus{Phase: phase},
		}
	}
	s := newHelperSite(running, old("ended", corev1.PodFailed, time.Minute), old("overdue", corev1.PodRunning, time.Hour), old("another's", corev1.PodRunning, time.Second))
	if _, err := ReadFiles(t.Context(), s.options()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"another's"}, s.left(t)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestHelperRefusesFolders(t *testing.T) {
	s := newHelperSite(running)
	options := s.options()
	options.Place.Key = "/etc/kubernetes/pki/etcd/"
	if _, err := ReadFiles(t.Context(), options); !errors.Is(err, ErrNotStarted) || len(s.made) > 0 {
		t.Errorf("%v, made %d", err, len(s.made))
	}
}
