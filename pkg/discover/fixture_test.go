package discover

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// readFixture decodes the objects of a file below testdata.
func readFixture(t *testing.T, name string) []runtime.Object {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var objects []runtime.Object
	documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var raw runtime.RawExtension
		if err := documents.Decode(&raw); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(raw.Raw) == 0 || string(raw.Raw) == "null" {
			continue
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw.Raw, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	if len(objects) == 0 {
		t.Fatalf("%s holds no objects", name)
	}
	return objects
}

func podsOf(objects []runtime.Object) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, object := range objects {
		if pod, ok := object.(*corev1.Pod); ok {
			pods = append(pods, pod)
		}
	}
	return pods
}

// findIn runs Find over a fixture's objects.
func findIn(t *testing.T, options Options, objects ...runtime.Object) (*Found, error) {
	t.Helper()
	return Find(t.Context(), fake.NewClientset(objects...), options)
}

func mustFind(t *testing.T, options Options, objects ...runtime.Object) *Found {
	t.Helper()
	found, err := findIn(t, options, objects...)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// checkGolden compares got, as JSON, with a file below testdata.
func checkGolden(t *testing.T, name string, got any) {
	t.Helper()
	data, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, '\n')
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(data)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// forbid makes client refuse verb on resource in namespace; "" refuses in any.
func forbid(client *fake.Clientset, verb, resource, namespace string) {
	client.PrependReactor(verb, resource, func(action clienttesting.Action) (bool, runtime.Object, error) {
		if namespace != "" && action.GetNamespace() != namespace {
			return false, nil, nil
		}
		return true, nil, forbidden(resource)
	})
}

func forbidden(resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no RBAC rule allows it"))
}

// layout is the shape of what was found: cluster names with their pods' names.
func layout(found *Found) map[string][]string {
	shape := map[string][]string{}
	for _, c := range found.Clusters {
		for _, p := range c.Pods {
			shape[c.Namespace+"/"+c.Name] = append(shape[c.Namespace+"/"+c.Name], p.Name)
		}
	}
	return shape
}

func forbidClusterWide(action clienttesting.Action) (bool, runtime.Object, error) {
	if action.GetNamespace() != "" {
		return false, nil, nil
	}
	return true, nil, forbidden("pods")
}
