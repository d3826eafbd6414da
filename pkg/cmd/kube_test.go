package cmd

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// TestKubeClientAsks each group under its own path, and the metrics, that are of none.
func TestKubeClientAsks(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.URL.Path)
		mu.Unlock()
		if r.URL.Path == "/metrics" {
			_, _ = io.WriteString(w, "apiserver_resource_objects{group=\"\",resource=\"pods\"} 7\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","reason":"NotFound","code":404}`)
	}))
	defer server.Close()
	client, err := newKubeClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	k := &kubeHealth{kubeTarget: &kubeTarget{client: client}}
	if counts := countsOf(k.metrics(t.Context())); counts.Value["pods"] != 7 {
		t.Errorf("%+v, want 7 pods", counts)
	}
	for _, ask := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := client.CoreV1().Nodes().Get(ctx, "n", metav1.GetOptions{})
			return err
		},
		func(ctx context.Context) error {
			_, err := client.BatchV1().CronJobs("").List(ctx, metav1.ListOptions{})
			return err
		},
		func(ctx context.Context) error {
			_, err := right{verb: "get", resource: "pods"}.allowed(ctx, client)
			return err
		},
	} {
		if err := ask(t.Context()); err == nil {
			t.Error("no error of what is not there")
		}
	}
	want := []string{
		"GET /metrics", "GET /api/v1/nodes/n", "GET /apis/batch/v1/cronjobs", "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}
