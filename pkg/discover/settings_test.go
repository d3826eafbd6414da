package discover

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func etcdProcess(command []string, env ...corev1.EnvVar) process {
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace, pod.Status.PodIP = "etcd-0", "shop", "10.1.2.3"
	pod.Spec.Containers = []corev1.Container{{Name: "etcd", Image: "quay.io/coreos/etcd:v3.5.17", Command: command, Env: env}}
	return newProcess(pod, &pod.Spec.Containers[0])
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

func TestReadSettings(t *testing.T) {
	secret := corev1.EnvVar{Name: "ETCD_NAME", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "x"}}}
	for _, test := range []struct {
		name string
		p    process
		want Settings
	}{
		{"flags", etcdProcess([]string{"etcd", "--name=a", "--data-dir", "/d", "--pre-vote"}), Settings{
			"name": {"a", FromFlag}, "data-dir": {"/d", FromFlag}, "pre-vote": {"true", FromFlag},
		}},
		{"the last flag wins", etcdProcess([]string{"etcd", "--name=a", "--name=b"}), Settings{"name": {"b", FromFlag}}},
		{"environment", etcdProcess([]string{"etcd"}, corev1.EnvVar{Name: "ETCD_QUOTA_BACKEND_BYTES", Value: "8"}), Settings{
			"quota-backend-bytes": {"8", FromEnv},
		}},
		{"flag before environment", etcdProcess([]string{"etcd", "--name=a"}, corev1.EnvVar{Name: "ETCD_NAME", Value: "b"}), Settings{
			"name": {"a", FromFlag},
		}},
		{"an empty variable is unset", etcdProcess([]string{"etcd"}, corev1.EnvVar{Name: "ETCD_NAME"}), Settings{}},
		{"not etcd's", etcdProcess([]string{"etcd"},
			corev1.EnvVar{Name: "ETCD_ROOT_PASSWORD", Value: "x"}, corev1.EnvVar{Name: "ETCDCTL_API", Value: "3"},
			corev1.EnvVar{Name: "ETCD_MANAGER_X", Value: "x"}, corev1.EnvVar{Name: "ETCD_", Value: "x"}, secret,
		), Settings{}},
		{"references", etcdProcess([]string{"etcd", "--name=$(N)", "--listen-client-urls=http://$(IP):2379", "--x=$(NOT) $$(N)"},
			field("N", "metadata.name"), field("IP", "status.podIP"), corev1.EnvVar{Name: "ETCD_INITIAL_CLUSTER", Value: "$(N)=x"},
		), Settings{
			"name": {"etcd-0", FromFlag}, "listen-client-urls": {"http://10.1.2.3:2379", FromFlag},
			"x": {"$(NOT) $(N)", FromFlag}, "initial-cluster": {"etcd-0=x", FromEnv},
		}},
		{"script", etcdProcess([]string{"sh", "-c", "export ETCD_NAME=${HOST}\nexec etcd \\\n --data-dir=${DIR} \\\n --x=${UNKNOWN} || true"},
			corev1.EnvVar{Name: "HOST", Value: "h"}, corev1.EnvVar{Name: "DIR", Value: "/d"}, corev1.EnvVar{Name: "ETCD_NAME", Value: "b"},
		), Settings{
			"name": {"h", FromScript}, "data-dir": {"/d", FromScript}, "x": {"${UNKNOWN}", FromScript},
		}},
		{"config file in place of all", etcdProcess([]string{"etcd", "--name=a", "--config-file=/etc/etcd.yaml"},
			corev1.EnvVar{Name: "ETCD_NAME", Value: "b"},
		), Settings{"config-file": {"/etc/etcd.yaml", FromFile}}},
		{"config file by environment", etcdProcess([]string{"etcd", "--name=a"},
			corev1.EnvVar{Name: "ETCD_CONFIG_FILE", Value: "/etc/etcd.yaml"},
		), Settings{"config-file": {"/etc/etcd.yaml", FromFile}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, readSettings(test.p)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEntrypointOfImage(t *testing.T) {
	advertise := corev1.EnvVar{Name: "ETCD_ADVERTISE_CLIENT_URLS", Value: "http://a:2379"}
	for _, test := range []struct {
		name, image string
		args        []string
		env         []corev1.EnvVar
		want        bool
	}{
		{"flags for the entrypoint", "quay.io/coreos/etcd:v3.5.17", []string{"--name=a"}, nil, true},
		{"by digest", "quay.io/coreos/etcd@sha256:00", []string{"--name=a"}, nil, true},
		{"by environment", "registry:5000/bitnami/etcd", nil, []corev1.EnvVar{advertise}, true},
		{"a command for the entrypoint", "quay.io/coreos/etcd:v3.5.17", []string{"etcdctl", "get"}, []corev1.EnvVar{advertise}, false},
		{"nothing said", "quay.io/coreos/etcd:v3.5.17", nil, nil, false},
		{"another image", "example.com/etcd-exporter:1", []string{"--name=a"}, []corev1.EnvVar{advertise}, false},
	} {
		p := etcdProcess(nil, test.env...)
		p.container.Image, p.container.Args = test.image, test.args
		if _, got := p.etcd(); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
