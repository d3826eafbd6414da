package agent

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// longest is when a run is ended that waits for something for ever. It is ended as by
	// Ctrl-C, between two members: etcd goes on with what a member has begun.
	longest = 2 * 60 * 60
	// turn is how long it may wait then for the end of the member whose turn it is.
	turn = 10 * 60
	// late is for how long after its time a run may still begin.
	late = 60 * 60
)

// Defragmentation is what has to be applied so that members are defragmented by the clock: one
// run at a time, and a run that failed is not tried again before the next time, for somebody
// should look first.
func Defragmentation(o Options, schedule string) []runtime.Object {
	labels := map[string]string{"app.kubernetes.io/name": "kubectl-etcd-defrag", "app.kubernetes.io/instance": o.Name}
	none, one, three, deadline, start := int32(0), int32(1), int32(3), int64(longest), int64(late)
	pod := podSpec(o, container(o, "defrag", "defrag", "--yes"), turn)
	pod.RestartPolicy = corev1.RestartPolicyNever
	return []runtime.Object{&batchv1.CronJob{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "CronJob"},
		ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name, Labels: labels},
		Spec: batchv1.CronJobSpec{
			Schedule: schedule, ConcurrencyPolicy: batchv1.ForbidConcurrent, StartingDeadlineSeconds: &start,
			SuccessfulJobsHistoryLimit: &one, FailedJobsHistoryLimit: &three,
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: batchv1.JobSpec{
					BackoffLimit: &none, ActiveDeadlineSeconds: &deadline,
					Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
				},
			},
		},
	}}
}
