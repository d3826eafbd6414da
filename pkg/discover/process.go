package discover

import (
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// process is a container of a pod with its environment as far as the pod tells it.
type process struct {
	pod       *corev1.Pod
	container *corev1.Container
	env       map[string]string
	// config reads etcd's config file by the container's path, where that can be: on the
	// node itself. nil where only the pod is known.
	config func(path string) Settings
	// configMap is the data of the ConfigMap that the row's configMap names; nil: there is
	// none, or it could not be read.
	configMap map[string]string
}

func newProcess(pod *corev1.Pod, container *corev1.Container) process {
	return process{pod: pod, container: container, env: environment(pod, container)}
}

// argv is the container's command and arguments, with $(VAR) expanded.
func (p process) argv() []string {
	argv := slices.Concat(p.container.Command, p.container.Args)
	for i := range argv {
		argv[i] = expandReferences(argv[i], p.env)
	}
	return argv
}

// etcd is how the container starts an etcd server, and whether it does.
func (p process) etcd() (invocation, bool) {
	argv := p.argv()
	if found, ok := findInvocation(argv, "etcd"); ok {
		return found, !isSubcommand(found.args)
	}
	if len(p.container.Command) > 0 || !p.hasEtcdImage() {
		return invocation{}, false
	}
	// The image's own entrypoint: etcd gets the arguments, or the environment, as they are.
	if len(argv) > 0 {
		return invocation{args: argv}, strings.HasPrefix(argv[0], "-")
	}
	return invocation{}, p.env["ETCD_LISTEN_CLIENT_URLS"] != "" || p.env["ETCD_ADVERTISE_CLIENT_URLS"] != ""
}

// isSubcommand: "etcd grpc-proxy" and "etcd gateway" are no etcd server.
func isSubcommand(args []string) bool {
	return len(args) > 0 && slices.Contains([]string{"grpc-proxy", "gateway"}, args[0])
}

func (p process) hasEtcdImage() bool { return p.image() == "etcd" }

// image is the name of the container's image, without registry, path, tag and digest.
func (p process) image() string {
	image, _, _ := strings.Cut(path.Base(p.container.Image), "@")
	image, _, _ = strings.Cut(image, ":")
	return image
}

// environment resolves the container's variables: values, with $(VAR) expanded, and
// fields of the pod. What stands in Secrets and ConfigMaps is left out.
func environment(pod *corev1.Pod, container *corev1.Container) map[string]string {
	env := make(map[string]string, len(container.Env))
	for _, v := range container.Env {
		switch {
		case v.ValueFrom == nil:
			env[v.Name] = expandReferences(v.Value, env)
		case v.ValueFrom.FieldRef != nil:
			if value, ok := podField(pod, v.ValueFrom.FieldRef.FieldPath); ok {
				env[v.Name] = value
			}
		}
	}
	return env
}

func podField(pod *corev1.Pod, field string) (string, bool) {
	fields := map[string]string{
		"metadata.name":      pod.Name,
		"metadata.namespace": pod.Namespace,
		"metadata.uid":       string(pod.UID),
		"spec.nodeName":      pod.Spec.NodeName,
		"status.podIP":       pod.Status.PodIP,
		"status.hostIP":      pod.Status.HostIP,
	}
	value := fields[field]
	return value, value != ""
}

var (
	reference     = regexp.MustCompile(`\$\$|\$\([A-Za-z_][A-Za-z0-9_.-]*\)`)
	shellVariable = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}|\$[A-Za-z_][A-Za-z0-9_]*`)
)

// expandReferences expands $(VAR) as Kubernetes does in command, args and env: "$$" is
// a dollar sign, an unknown name stays as it is.
func expandReferences(s string, env map[string]string) string {
	return reference.ReplaceAllStringFunc(s, func(ref string) string {
		if ref == "$$" {
			return "$"
		}
		if value, ok := env[ref[2:len(ref)-1]]; ok {
			return value
		}
		return ref
	})
}

// expandVariables expands $VAR and ${VAR} of a shell; an unknown name stays as it is.
func expandVariables(s string, env map[string]string) string {
	return shellVariable.ReplaceAllStringFunc(s, func(ref string) string {
		if value, ok := env[strings.Trim(ref, "${}")]; ok {
			return value
		}
		return ref
	})
}
