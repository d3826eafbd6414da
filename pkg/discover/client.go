package discover

import coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

// Client asks the API server for pods, nodes, ConfigMaps and Secrets; a kubernetes.Interface is one.
type Client interface {
	CoreV1() coreclient.CoreV1Interface
}
