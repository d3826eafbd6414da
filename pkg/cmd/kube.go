package cmd

import (
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	batchclient "k8s.io/client-go/kubernetes/typed/batch/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// kubeClient is as much of a kubernetes.Interface as is asked here. The whole one, with the
// other fifty groups of the API, is 9 MB of the binary.
type kubeClient interface {
	CoreV1() coreclient.CoreV1Interface
	BatchV1() batchclient.BatchV1Interface
	AuthorizationV1() authorizationclient.AuthorizationV1Interface
}

// kubeGroups is a kubeClient.
type kubeGroups struct {
	core          *coreclient.CoreV1Client
	batch         *batchclient.BatchV1Client
	authorization *authorizationclient.AuthorizationV1Client
}

// newKubeClient makes one whose groups share their connections.
func newKubeClient(config *rest.Config) (kubeClient, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	c := &kubeGroups{}
	if c.core, err = coreclient.NewForConfigAndClient(config, client); err != nil {
		return nil, err
	}
	if c.batch, err = batchclient.NewForConfigAndClient(config, client); err != nil {
		return nil, err
	}
	if c.authorization, err = authorizationclient.NewForConfigAndClient(config, client); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *kubeGroups) CoreV1() coreclient.CoreV1Interface { return c.core }

func (c *kubeGroups) BatchV1() batchclient.BatchV1Interface { return c.batch }

func (c *kubeGroups) AuthorizationV1() authorizationclient.AuthorizationV1Interface {
	return c.authorization
}
