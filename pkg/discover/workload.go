package discover

import (
	"cmp"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The labels that charts and operators put on what they make.
const (
	instanceLabel  = "app.kubernetes.io/instance"
	partOfLabel    = "app.kubernetes.io/part-of"
	managedByLabel = "app.kubernetes.io/managed-by"
	componentLabel = "app.kubernetes.io/component"
)

// etcdOperator is how both etcd-operators, etcd-io's and cozystack's, are called.
const etcdOperator = "etcd-operator"

// controllerOf is what a pod was made from: nothing where it is its node's, that is,
// static; the Deployment rather than its ReplicaSet of the day.
func controllerOf(pod *corev1.Pod) (kind, name string) {
	controller := metav1.GetControllerOf(pod)
	if controller == nil || controller.Kind == "Node" {
		return "", ""
	}
	hash := pod.Labels["pod-template-hash"]
	if name, ok := strings.CutSuffix(controller.Name, "-"+hash); ok && hash != "" && controller.Kind == "ReplicaSet" {
		return "Deployment", name
	}
	return controller.Kind, controller.Name
}

// instanceOf names what the pods of one cluster have in common: their controller, but not an
// operator's object, which there may be one of a member, where a label says more.
func instanceOf(pod *corev1.Pod) string {
	kind, name := controllerOf(pod)
	if isWorkload(kind) {
		return name
	}
	return cmp.Or(pod.Labels[instanceLabel], name, pod.Labels[partOfLabel])
}

// isWorkload: Kubernetes' own controllers replace pods, but know nothing of members.
func isWorkload(kind string) bool {
	switch kind {
	case "StatefulSet", "Deployment", "ReplicaSet", "DaemonSet", "Job":
		return true
	}
	return false
}

// genericOwner goes by the pods' controller, and by who says to manage them. Helm
// only installs.
func genericOwner(pods []*corev1.Pod, _ nodeSet) Owner {
	pod := pods[0]
	owner := Owner{Kind: "Pod", Name: pod.Name}
	if kind, name := controllerOf(pod); kind != "" {
		owner = Owner{Kind: kind, Name: name, Managed: !isWorkload(kind)}
	}
	if operator := operatorOf(pod); operator != "" {
		owner = Owner{Kind: operator, Name: cmp.Or(instanceOf(pod), pod.Name), Managed: true}
	}
	if owner.Managed {
		owner.Advice = "change members through " + path.Join(owner.Kind, owner.Name) + ", which looks after them"
	}
	return owner
}

// operatorOf is who manages the pod by its labels; "": nobody says so. etcd-io's operator
// has its cluster's name in two labels and in the StatefulSet that it makes
// (etcd-io/etcd-operator internal/controller/utils.go, createOrPatchStatefulSet).
func operatorOf(pod *corev1.Pod) string {
	if by := pod.Labels[managedByLabel]; by != "" && !strings.EqualFold(by, "helm") {
		return by
	}
	kind, name := controllerOf(pod)
	if kind == "StatefulSet" && pod.Labels["controller"] == name && pod.Labels["app"] == name {
		return etcdOperator
	}
	return ""
}

// genericSecrets are those of what has no row of its own, but a client's certificate in a
// Secret that the etcd container does not mount: Cilium's clustermesh (the server's
// own is no user of that etcd, which has roles; templates/clustermesh-apiserver/deployment.yaml),
// and cozystack's operator where cert-manager made it one (controllers/helpers.go,
// operatorClientSecretName).
func genericSecrets(c Cluster) []secretPlace {
	switch {
	case strings.HasPrefix(c.Name, "clustermesh-apiserver"):
		return []secretPlace{{namespace: c.Namespace, secret: "clustermesh-apiserver-admin-cert"}}
	case c.Owner.Kind == etcdOperator:
		return []secretPlace{{namespace: c.Namespace, secret: c.Owner.Name + "-operator-client-tls"}}
	}
	return nil
}
