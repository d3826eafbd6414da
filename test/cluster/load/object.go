package load

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The objects have the shapes and sizes that a real cluster's have: about 1 to
// 8 KiB of settings, well under 1 KiB for the rest.

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:   name,
		Labels: map[string]string{"app.kubernetes.io/name": "load", "app.kubernetes.io/instance": name},
	}
}

func configMap(name string, r *rand.Rand) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: meta(name),
		Data:       map[string]string{"settings.yaml": text(r, 1024+r.IntN(7*1024)), "level": "info"},
	}
}

func secret(name string, r *rand.Rand) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: meta(name),
		Type:       corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{
			corev1.BasicAuthUsernameKey: []byte("load"),
			corev1.BasicAuthPasswordKey: []byte(text(r, 48)),
		},
	}
}

// pod asks for a node that does not exist: it lives in etcd only.
func pod(name string, r *rand.Rand) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: meta(name),
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"load.example.com/node": "none"},
			Containers: []corev1.Container{{
				Name:    "app",
				Image:   fmt.Sprintf("registry.example.com/app:%d", r.IntN(100)),
				Command: []string{"/app", "--serve"},
				Env:     []corev1.EnvVar{{Name: "TOKEN", Value: text(r, 64)}, {Name: "LEVEL", Value: "info"}},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
				}},
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			}},
		},
	}
}

func event(ns, name string, r *rand.Rand) *corev1.Event {
	at := metav1.NewTime(time.Now())
	return &corev1.Event{
		ObjectMeta:     meta(name),
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: ns, Name: name, APIVersion: "v1"},
		Reason:         "Loaded",
		Message:        text(r, 80),
		Type:           corev1.EventTypeNormal,
		Source:         corev1.EventSource{Component: "load"},
		FirstTimestamp: at,
		LastTimestamp:  at,
		Count:          1,
	}
}

// text is size characters that compress about as badly as real data does.
func text(r *rand.Rand, size int) string {
	raw := make([]byte, size*3/4+1)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	return base64.RawStdEncoding.EncodeToString(raw)[:size]
}
