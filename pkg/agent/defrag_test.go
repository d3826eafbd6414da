package agent

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// The CronJob runs one defragmentation at a time, never again by itself, and as hardened as the
// backup; its pod may wait for a member's end.
func TestDefragmentation(t *testing.T) {
	objects := Defragmentation(Options{
		Namespace: "kube-system", Name: "nightly", Image: "image@sha256:0", CA: "/ca", Cert: "/cert", Key: "/key",
		Args: []string{"--auto", "--endpoints", "https://10.0.0.1:2379"},
	}, "17 3 * * 0")
	job := objects[0].(*batchv1.CronJob)
	spec := job.Spec.JobTemplate.Spec
	pod := spec.Template.Spec
	if len(objects) != 1 || job.Spec.Schedule != "17 3 * * 0" || job.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent {
		t.Errorf("%d objects, at %s, %s", len(objects), job.Spec.Schedule, job.Spec.ConcurrencyPolicy)
	}
	if *spec.BackoffLimit != 0 || pod.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("it is tried again: %d, %s", *spec.BackoffLimit, pod.RestartPolicy)
	}
	if *pod.TerminationGracePeriodSeconds < 300 || *spec.ActiveDeadlineSeconds < *pod.TerminationGracePeriodSeconds {
		t.Errorf("it gets %d s for a member's end, of %d s in all", *pod.TerminationGracePeriodSeconds, *spec.ActiveDeadlineSeconds)
	}
	c := pod.Containers[0]
	if *pod.AutomountServiceAccountToken || !*c.SecurityContext.ReadOnlyRootFilesystem || c.SecurityContext.Capabilities.Drop[0] != "ALL" {
		t.Errorf("it may do %+v", c.SecurityContext)
	}
	if args := strings.Join(c.Args, " "); args != "defrag --yes --cacert /etcd-certs/ca.crt --cert /etcd-certs/client.crt --key /etcd-certs/client.key --auto --endpoints https://10.0.0.1:2379" {
		t.Errorf("it runs %s", args)
	}
	for _, v := range pod.Volumes {
		if h := v.HostPath; h != nil && *h.Type != corev1.HostPathFile {
			t.Errorf("it gets the folder %s", h.Path)
		}
	}
}
