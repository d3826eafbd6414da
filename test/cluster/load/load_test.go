package load

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// lateAPI knows the namespace's default service account from the comesAt-th question
// on, never when it is 0, and refuses pods before, in an API server's own words.
func lateAPI(t *testing.T, comesAt int64) *rest.Config {
	t.Helper()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		there := comesAt > 0 && asked.Load() >= comesAt
		switch {
		case strings.HasSuffix(r.URL.Path, "/serviceaccounts/default"):
			if there = asked.Add(1) >= comesAt && comesAt > 0; !there {
				refuse(w, http.StatusNotFound, "NotFound", `serviceaccounts \"default\" not found`)
				return
			}
		case strings.HasSuffix(r.URL.Path, "/pods") && !there:
			refuse(w, http.StatusForbidden, "Forbidden", `pods \"p\" is forbidden: error looking up service account load/default: serviceaccount \"default\" not found`)
			return
		}
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"metadata":{"name":"`+path.Base(r.URL.Path)+`"}}`)
			return
		}
		sent, _ := io.ReadAll(r.Body) // to its end before the answer begins
		_, _ = w.Write(sent)
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
}

func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.WriteHeader(code)
	_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"`+reason+`","message":"`+message+`"}`)
}

func TestRunWaitsForTheServiceAccount(t *testing.T) {
	report, err := Run(t.Context(), lateAPI(t, 3), Options{Rate: 200, Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if report.Failed != 0 || report.Writes["create pod"] == 0 {
		t.Errorf("%d failed (the last: %v), written were %v", report.Failed, report.Last, report.Writes)
	}
}

func TestNoServiceAccountIsSaid(t *testing.T) {
	client, err := kubernetes.NewForConfig(lateAPI(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	err = prepareNamespace(t.Context(), client, "load", 300*time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || !apierrors.IsNotFound(err) {
		t.Errorf("prepareNamespace = %v, want that its time is over, and that there is no such account", err)
	}
}
