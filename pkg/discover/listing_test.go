package discover

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// podServer answers pod lists over HTTP as an API server does, page by page.
type podServer struct {
	pods []corev1.Pod
	// noEtcd: whatever is not asked of the cache fails, as when etcd has no leader.
	noEtcd bool
	pages  chan int // the sizes of the pages it gave
}

func (s *podServer) client(t *testing.T) kubernetes.Interface {
	t.Helper()
	s.pages = make(chan int, 1000)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (s *podServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	w.Header().Set("Content-Type", "application/json")
	if !strings.HasSuffix(r.URL.Path, "/namespaces/kube-system/pods") && !strings.HasSuffix(r.URL.Path, "/api/v1/pods") {
		_ = json.NewEncoder(w).Encode(corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}})
		return
	}
	if s.noEtcd && query.Get("resourceVersion") != "0" {
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Message: "etcdserver: no leader", Code: http.StatusInternalServerError,
		})
		return
	}
	_ = json.NewEncoder(w).Encode(s.page(query.Get("continue"), query.Get("limit")))
}

func (s *podServer) page(from, limit string) corev1.PodList {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	start, _ := strconv.Atoi(from)
	end := len(s.pods)
	if n, _ := strconv.Atoi(limit); n > 0 && start+n < end {
		end = start + n
		list.Continue = strconv.Itoa(end)
	}
	list.Items = s.pods[start:end]
	s.pages <- len(list.Items)
	return list
}

func etcdPod(i int) corev1.Pod {
	pod := corev1.Pod{}
	pod.Name, pod.Namespace = fmt.Sprintf("etcd-%04d", i), systemNamespace
	pod.Labels = map[string]string{"component": "etcd", "tier": "control-plane"}
	pod.Spec.Containers = []corev1.Container{{Name: "etcd", Command: []string{"etcd"}}}
	return pod
}

func TestListGoesPageByPage(t *testing.T) {
	server := &podServer{}
	for i := range 1203 {
		server.pods = append(server.pods, etcdPod(i))
	}
	client := server.client(t)
	found, err := listPlace(t.Context(), client, place{})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.pods) != 1203 || found.stale {
		t.Errorf("%d pods, stale %v", len(found.pods), found.stale)
	}
	close(server.pages)
	for size := range server.pages {
		if size > pageSize {
			t.Errorf("a page of %d", size)
		}
	}
	if pods := uniquePods([]listing{found, found}); len(pods) != 1203 {
		t.Errorf("%d pods after a second listing", len(pods))
	}
}

// When etcd has lost its quorum the API server still knows the pods.
func TestFindWithoutEtcd(t *testing.T) {
	server := &podServer{pods: []corev1.Pod{etcdPod(0), etcdPod(1), etcdPod(2)}, noEtcd: true}
	found, err := Find(t.Context(), server.client(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Clusters) != 1 || len(found.Clusters[0].Pods) != 3 {
		t.Errorf("found %v", layout(found))
	}
	if len(found.Notes) != 1 || !strings.Contains(found.Notes[0], "could not read its etcd") {
		t.Errorf("notes: %q", found.Notes)
	}
}

func TestFindWithoutAPIServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Find(t.Context(), client, Options{})
	if err == nil || !strings.Contains(err.Error(), "list pods in namespace") {
		t.Errorf("error: %v", err)
	}
}
