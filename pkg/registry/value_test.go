package registry

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// encode makes what the API server stores of a built-in type.
func encode(t testing.TB, mediaType string, object runtime.Object) []byte {
	t.Helper()
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		t.Fatal(err)
	}
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), mediaType)
	if !ok {
		t.Fatalf("no serializer for %s", mediaType)
	}
	value, err := runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, kinds[0].GroupVersion()), object)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// encodeCustom makes what the API server stores of a custom resource.
func encodeCustom(t testing.TB, object map[string]any) []byte {
	t.Helper()
	value, err := runtime.Encode(unstructured.UnstructuredJSONScheme, &unstructured.Unstructured{Object: object})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// fullMeta has all fields set that the API server sets, so that the finalizers are found among all.
func fullMeta(finalizers ...string) metav1.ObjectMeta {
	now, grace, yes := metav1.NewTime(time.Unix(1_700_000_000, 0)), int64(30), true
	return metav1.ObjectMeta{
		Name: "a", GenerateName: "a-", Namespace: "ns", UID: "u", ResourceVersion: "7", Generation: 300,
		CreationTimestamp: now, DeletionTimestamp: &now, DeletionGracePeriodSeconds: &grace,
		Labels: map[string]string{"k": "v"}, Annotations: map[string]string{"k": "v"}, Finalizers: finalizers,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "u", Controller: &yes}},
		ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`)}},
	}
}

var peekTests = []struct {
	name   string
	object runtime.Object
	want   Meta
}{
	{"configmap", &corev1.ConfigMap{ObjectMeta: fullMeta(), Data: map[string]string{"a": "b"}},
		Meta{Kind: "ConfigMap", APIVersion: "v1", Known: true}},
	{"empty", &corev1.Pod{}, Meta{Kind: "Pod", APIVersion: "v1", Known: true}},
	{"claim", &corev1.PersistentVolumeClaim{ObjectMeta: fullMeta("kubernetes.io/pvc-protection")},
		Meta{Kind: "PersistentVolumeClaim", APIVersion: "v1", Finalizers: []string{"kubernetes.io/pvc-protection"}, Known: true}},
	{"deployment", &appsv1.Deployment{ObjectMeta: fullMeta("a", "b"), Spec: appsv1.DeploymentSpec{Paused: true}},
		Meta{Kind: "Deployment", APIVersion: "apps/v1", Finalizers: []string{"a", "b"}, Known: true}},
	{"attachment", &storagev1.VolumeAttachment{ObjectMeta: fullMeta("external-attacher/ebs-csi-aws-com"), Spec: storagev1.VolumeAttachmentSpec{NodeName: "n"}},
		Meta{Kind: "VolumeAttachment", APIVersion: "storage.k8s.io/v1", Finalizers: []string{"external-attacher/ebs-csi-aws-com"}, Known: true}},
	{"load balancer", &corev1.Service{ObjectMeta: fullMeta("service.kubernetes.io/load-balancer-cleanup"), Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.0.0.7", Ports: []corev1.ServicePort{{Port: 80}}, Selector: map[string]string{"app": "a"},
		PublishNotReadyAddresses: true, HealthCheckNodePort: 30000,
	}}, Meta{Kind: "Service", APIVersion: "v1", Finalizers: []string{"service.kubernetes.io/load-balancer-cleanup"}, ServiceType: "LoadBalancer", Known: true}},
	{"cluster ip", &corev1.Service{ObjectMeta: fullMeta(), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP}},
		Meta{Kind: "Service", APIVersion: "v1", ServiceType: "ClusterIP", Known: true}},
	{"node", &corev1.Node{ObjectMeta: fullMeta(), Spec: corev1.NodeSpec{PodCIDR: "10.0.0.0/24", ProviderID: "aws:///x", Unschedulable: true}},
		Meta{Kind: "Node", APIVersion: "v1", Known: true}},
	{"namespace", &corev1.Namespace{ObjectMeta: fullMeta(), Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{"kubernetes"}}},
		Meta{Kind: "Namespace", APIVersion: "v1", Known: true}},
}

func TestPeek(t *testing.T) {
	for _, test := range peekTests {
		for _, mediaType := range []string{runtime.ContentTypeProtobuf, runtime.ContentTypeJSON} {
			t.Run(test.name+" "+mediaType, func(t *testing.T) {
				value := encode(t, mediaType, test.object)
				got := Peek(value)
				clear(value)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestPeekCustom(t *testing.T) {
	tests := []struct {
		name   string
		object map[string]any
		want   Meta
	}{
		{"finalizers", map[string]any{"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": map[string]any{"name": "a", "finalizers": []any{"karpenter.sh/termination"}}},
			Meta{Kind: "NodeClaim", APIVersion: "karpenter.sh/v1", Finalizers: []string{"karpenter.sh/termination"}, Known: true}},
		{"another Service", map[string]any{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": map[string]any{"name": "a"}, "spec": map[string]any{"type": "LoadBalancer"}},
			Meta{Kind: "Service", APIVersion: "serving.knative.dev/v1", Known: true}},
		{"type is no string", map[string]any{"apiVersion": "e.io/v1", "kind": "E", "metadata": map[string]any{"name": "a"}, "spec": map[string]any{"type": int64(3)}, "Kind": int64(3)},
			Meta{Kind: "E", APIVersion: "e.io/v1", Known: true}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, Peek(encodeCustom(t, test.object))); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestPeekOfOthers(t *testing.T) {
	pod := encode(t, runtime.ContentTypeProtobuf, &corev1.Pod{ObjectMeta: fullMeta("a")})
	tests := []struct {
		name  string
		value []byte
		want  Meta
	}{
		{"nil", nil, Meta{}},
		{"text", []byte("hello"), Meta{}},
		{"magic alone", []byte("k8s\x00"), Meta{}},
		{"cut", pod[:len(pod)-1], Meta{}},
		{"bad raw", append([]byte("k8s\x00\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x01"), 0xff), Meta{}},
		{"another encoding style", append([]byte("k8s\x01"), pod[4:]...), Meta{}},
		{"CBOR", []byte("\xd9\xd9\xf7\xa0"), Meta{}},
		{"JSON null", []byte("null"), Meta{}},
		{"JSON array", []byte("[]"), Meta{}},
		{"JSON without a kind", []byte(`{"metadata":{"finalizers":["a"]}}`), Meta{}},
		{"JSON with odd finalizers", []byte(`{"kind":"A","metadata":{"finalizers":3}}`), Meta{}},
		{"JSON cut", []byte(`{"kind":"A"`), Meta{}},
		{"aescbc", []byte("k8s:enc:aescbc:v1:key1:\x00\x01"), Meta{Encrypted: true}},
		{"kms", []byte("k8s:enc:kms:v2:p:\x00\x01"), Meta{Encrypted: true}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, Peek(test.value)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// FuzzPeek wants no panic, nothing told of what is not known, and the kind that apimachinery
// finds in all that it would itself write.
func FuzzPeek(f *testing.F) {
	for _, test := range peekTests {
		f.Add(encode(f, runtime.ContentTypeProtobuf, test.object))
		f.Add(encode(f, runtime.ContentTypeJSON, test.object))
	}
	f.Add([]byte("k8s:enc:aescbc:v1:key1:"))
	f.Fuzz(func(t *testing.T, value []byte) {
		m := Peek(value)
		if !m.Known && !cmp.Equal(m, Meta{Encrypted: bytes.HasPrefix(value, encryptedPrefix)}) {
			t.Fatalf("%#v", m)
		}
		if want, ok := typeMeta(value); m.Known && ok && (m.Kind != want.Kind || m.APIVersion != want.APIVersion) {
			t.Fatalf("%#v, want %v", m, want)
		}
	})
}

func typeMeta(value []byte) (runtime.TypeMeta, bool) {
	message, found := bytes.CutPrefix(value, protobufMagic)
	var object runtime.Unknown
	if !found || object.Unmarshal(message) != nil {
		return runtime.TypeMeta{}, false
	}
	again, err := object.Marshal()
	return object.TypeMeta, err == nil && bytes.Equal(again, message)
}
