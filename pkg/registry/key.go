// Package registry tells how Kubernetes' API server names and stores objects in etcd.
//
// Its one idea: it needs no types. A key tells which object it is, and the envelope of a
// value a few things that all objects have.
package registry

import (
	"slices"
	"strings"
)

// Object is what a key names.
type Object struct {
	// Group is empty where the key has none: of everything built in but apiservices and
	// customresourcedefinitions, "apps" and "rbac.authorization.k8s.io" included.
	Group string `json:"group,omitempty"`
	// Resource is the plural, as the API has it: "nodes" for the key's "minions".
	Resource string `json:"resource"`
	// Namespace is empty for what is in none.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// prefixes are the default of --etcd-prefix (k8s.io/apiserver's storagebackend.Config), and
// those of OpenShift's two API servers (openshift/origin's test/extended/etcd).
var prefixes = [...]string{"/registry/", "/kubernetes.io/", "/openshift.io/"}

// renamed are resources whose keys have another name (SpecialDefaultResourcePrefixes in
// Kubernetes' pkg/kubeapiserver; podsecuritypolicy up to 1.24; useridentities is OpenShift's).
var renamed = map[string]string{
	"controllers":       "replicationcontrollers",
	"ingress":           "ingresses",
	"minions":           "nodes",
	"podsecuritypolicy": "podsecuritypolicies",
	"useridentities":    "identities",
}

// nested are resources whose keys have two segments where others have one.
var nested = map[string]map[string]string{
	"services": {"specs": "services", "endpoints": "endpoints"},
	"oauth": { // OpenShift's
		"accesstokens":         "oauthaccesstokens",
		"authorizetokens":      "oauthauthorizetokens",
		"clientauthorizations": "oauthclientauthorizations",
		"clients":              "oauthclients",
	},
}

// ParseKey tells which object a key names: PREFIX/[GROUP/]RESOURCE/[NAMESPACE/]NAME. No
// list of resources is needed for that: a group has a dot and a resource has none, as the
// API server sees to, and neither namespaces nor names have a slash. So the API server's own
// ranges, masterleases and peerserverleases are objects too. Of a key under another prefix,
// or of another form, ok is false.
func ParseKey(key []byte) (o Object, ok bool) {
	path, ok := trimPrefix(string(key))
	if !ok {
		return Object{}, false
	}
	segments := strings.Split(path, "/")
	if slices.Contains(segments, "") {
		return Object{}, false
	}
	o.Group, o.Resource, segments = splitResource(segments)
	if o.Resource == "" || strings.Contains(o.Resource, ".") {
		return Object{}, false
	}
	switch len(segments) {
	case 1:
		o.Name = segments[0]
	case 2:
		o.Namespace, o.Name = segments[0], segments[1]
	default:
		return Object{}, false
	}
	return o, true
}

func trimPrefix(key string) (string, bool) {
	for _, prefix := range prefixes {
		if path, ok := strings.CutPrefix(key, prefix); ok {
			return path, true
		}
	}
	return "", false
}

// splitResource splits what names the resource from the rest. No resource: there is none.
func splitResource(segments []string) (group, resource string, rest []string) {
	first, rest := segments[0], segments[1:]
	if len(rest) > 0 {
		if inner, ok := nested[first]; ok {
			return "", inner[rest[0]], rest[1:]
		}
		if strings.Contains(first, ".") {
			return first, rest[0], rest[1:]
		}
	}
	if resource, ok := renamed[first]; ok {
		return "", resource, rest
	}
	return "", first, rest
}

// ResourceName is the resource as kubectl takes it: "pods", "certificates.cert-manager.io".
func (o Object) ResourceName() string {
	if o.Group == "" {
		return o.Resource
	}
	return o.Resource + "." + o.Group
}

// String is "pods kube-system/etcd-node0", or "nodes node0".
func (o Object) String() string {
	if o.Namespace == "" {
		return o.ResourceName() + " " + o.Name
	}
	return o.ResourceName() + " " + o.Namespace + "/" + o.Name
}
