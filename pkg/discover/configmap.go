package discover

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// configMapsAtOnce bounds the concurrent requests for ConfigMaps.
const configMapsAtOnce = 8

// objectName names a namespaced object.
type objectName struct{ namespace, name string }

// environmentMap is the first ConfigMap that the container's whole environment comes from.
func environmentMap(_ *corev1.Pod, container *corev1.Container) string {
	for _, from := range container.EnvFrom {
		if from.ConfigMapRef != nil && from.Prefix == "" {
			return from.ConfigMapRef.Name
		}
	}
	return ""
}

// addConfigMaps reads the ConfigMaps with settings, each once, and gives them to the
// processes that use them. Settings are not worth a failure: notes say which could not
// be read, and why.
func addConfigMaps(ctx context.Context, client Client, candidates []candidate) (notes []string) {
	users, order := map[objectName][]*process{}, []objectName(nil)
	for i := range candidates {
		p := &candidates[i].process
		name := objectName{p.pod.Namespace, candidates[i].row.configMap(p.pod, p.container)}
		if name.name == "" {
			continue
		}
		if users[name] == nil {
			order = append(order, name)
		}
		users[name] = append(users[name], p)
	}
	found, failures := readConfigMaps(ctx, client, order)
	for i, name := range order {
		for _, p := range users[name] {
			p.configMap = found[i]
		}
		if failures[i] != nil {
			notes = append(notes, fmt.Sprintf("some of etcd's settings are unknown: %v", failures[i]))
		}
	}
	return notes
}

// readConfigMaps gets the ConfigMaps' data out of the API server's cache, which answers
// without etcd too; for each either the data or an error.
func readConfigMaps(ctx context.Context, client Client, names []objectName) ([]map[string]string, []error) {
	found, failures := make([]map[string]string, len(names)), make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(configMapsAtOnce)
	for i, at := range names {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, answerWithin)
			defer cancel()
			m, err := client.CoreV1().ConfigMaps(at.namespace).Get(ctx, at.name, metav1.GetOptions{ResourceVersion: cached})
			if err != nil {
				failures[i] = fmt.Errorf("get configmap %s/%s: %w", at.namespace, at.name, err)
				return nil
			}
			found[i] = m.Data
			return nil
		})
	}
	_ = group.Wait() // failures has the errors
	return found, failures
}
