package cmd

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// TestBackupJobs: what is switched off, or has ended for good, backs nothing up and is none
// that is late.
func TestBackupJobs(t *testing.T) {
	on := time.Now().Add(-time.Hour)
	cron := func(name string, suspended bool) *batchv1.CronJob {
		job := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: name}}
		job.Spec.Schedule, job.Spec.Suspend = "@daily", &suspended
		job.Spec.JobTemplate.Spec.Template.Spec.Containers = []corev1.Container{{Command: []string{"etcdctl", "snapshot", "save"}}}
		job.Status.LastSuccessfulTime = &metav1.Time{Time: on}
		return job
	}
	agent := func(name string, phase corev1.PodPhase) *corev1.Pod {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: name, Labels: map[string]string{"app.kubernetes.io/name": "kubectl-etcd-agent"}}}
		pod.Status.Phase = phase
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Ready: phase == corev1.PodRunning}}
		return pod
	}
	client := fake.NewClientset(cron("etcd-daily", false), cron("etcd-of-old", true),
		agent("agent-1", corev1.PodRunning), agent("agent-0", corev1.PodFailed), agent("agent-2", corev1.PodPending))
	jobs := (&kubeHealth{kubeTarget: &kubeTarget{client: client}}).jobs(t.Context())
	got := map[string]bool{} // has succeeded
	for _, job := range jobs.Value {
		got[job.Name] = !job.LastSuccess.IsZero()
	}
	if len(got) != 3 || !got["etcd-daily"] || !got["agent-1"] || got["agent-2"] {
		t.Errorf("%v %s", got, jobs.Because)
	}
}
