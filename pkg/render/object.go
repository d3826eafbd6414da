package render

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// APIVersion is that of everything that -o prints. Within it fields are added, never
// renamed or removed.
const APIVersion = "kubectl-etcd.dev/v1"

// Object is one result: Value's JSON fields stand beside apiVersion, kind and metadata.
type Object struct {
	Kind  string // "ClusterStatus"
	Name  string // metadata.name
	Value any    // a struct or a pointer to one
}

// List is several objects of a kind, as kubectl's lists are; a list of one stays a list.
type List struct {
	Kind  string // "ClusterStatusList"
	Items []Object
}

// Structured is what -o json, yaml, name, jsonpath and go-template print.
type Structured interface {
	structured() (runtime.Object, error)
}

func (o Object) structured() (runtime.Object, error) { return o.unstructured() }

func (o Object) unstructured() (*unstructured.Unstructured, error) {
	fields := map[string]any{}
	if o.Value != nil {
		value, err := tree(reflect.ValueOf(o.Value))
		if err != nil {
			return nil, fmt.Errorf("convert %s: %w", o.Kind, err)
		}
		var ok bool
		if fields, ok = value.(map[string]any); !ok {
			panic(fmt.Sprintf("render: internal error: %T is not a struct", o.Value))
		}
	}
	fields["apiVersion"] = APIVersion
	fields["kind"] = o.Kind
	fields["metadata"] = map[string]any{"name": o.Name}
	return &unstructured.Unstructured{Object: fields}, nil
}

func (l List) structured() (runtime.Object, error) {
	list := &unstructured.UnstructuredList{Object: map[string]any{
		"apiVersion": APIVersion, "kind": l.Kind, "metadata": map[string]any{},
	}}
	for _, item := range l.Items {
		u, err := item.unstructured()
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, *u)
	}
	return list, nil
}
