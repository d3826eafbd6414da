package discover

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestPatience(t *testing.T) {
	web := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/livez"}}
	for _, test := range []struct {
		name  string
		probe *corev1.Probe
		want  time.Duration
	}{
		{"none", nil, 0},
		{"kubeadm's", &corev1.Probe{ProbeHandler: web, FailureThreshold: 8, PeriodSeconds: 10}, 80 * time.Second},
		{"what the API server fills in", &corev1.Probe{ProbeHandler: web}, 30 * time.Second},
		{"a command", &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}, FailureThreshold: 2, PeriodSeconds: 5}, 10 * time.Second},
		{"a port that only opens", &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(2379)}}, FailureThreshold: 1}, 0},
	} {
		if got := patience(test.probe); got != test.want {
			t.Errorf("%s: %s", test.name, got)
		}
	}
	found := mustFind(t, Options{}, readFixture(t, "kubeadm/cluster.yaml")...)
	for _, pod := range found.Clusters[0].Pods {
		if pod.Liveness != 80*time.Second {
			t.Errorf("%s: %s", pod.Name, pod.Liveness)
		}
	}
}

// Who defragments by itself, or is told to, says how.
func TestOwnersSayHowTheyKeepHouse(t *testing.T) {
	for fixture, want := range map[string]string{
		"openshift": "etcd-disable-defrag", "rke2": "restart rke2-server", "druid": "spec.etcd.defragmentationSchedule", "kubeadm": "", "kops": "",
	} {
		found := mustFind(t, Options{All: true}, readFixture(t, fixture+"/cluster.yaml")...)
		if owner := found.Clusters[0].Owner; !strings.Contains(owner.Upkeep, want) || want == "" && owner.Upkeep != "" {
			t.Errorf("%s: %+v", fixture, owner)
		}
	}
}

// Who changes members by itself says how that is asked for.
func TestOwnersSayHowTheyChangeMembers(t *testing.T) {
	for fixture, want := range map[string]string{
		"openshift": "the operator adds and removes members", "kops": "etcd-manager adds and removes members with the instance groups",
		"rke2": "RKE2 adds and removes members", "druid": "change spec.replicas of the Etcd", "capi": "Cluster API adds and removes members",
		"hypershift": "replaces members by itself", "etcd-operator": "change members through",
	} {
		for _, c := range mustFind(t, Options{All: true}, readFixture(t, fixture+"/cluster.yaml")...).Clusters {
			if !c.Owner.Managed || !strings.Contains(c.Owner.Advice, want) {
				t.Errorf("%s: %s: %+v", fixture, c.Name, c.Owner)
			}
		}
	}
	for _, fixture := range []string{"kubeadm", "kubeadm-events", "kind", "minikube", "bitnami", "generic"} {
		for _, c := range mustFind(t, Options{All: true}, readFixture(t, fixture+"/cluster.yaml")...).Clusters {
			if c.Owner.Managed {
				t.Errorf("%s: %s is left to %+v", fixture, c.Name, c.Owner)
			}
		}
	}
}
