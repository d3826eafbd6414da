package relay

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// kube is an API server that knows pods, and the kubelets behind it, which run real
// relays: the server side of this package in this process.
type kube struct {
	*httptest.Server
	tls *tls.Config // the nodes' client certificate

	mu      sync.Mutex
	pods    map[string]*corev1.Pod
	running map[string]*ran
	clock   time.Time // of new pods; zero: now
	deleted []string
	// fate changes what becomes of a new pod; nil or true: it runs.
	fate func(pod *corev1.Pod) bool
	// created says how a creation that is done is answered, 0: as it should be, and may wait
	// until its caller is gone.
	created func(gone context.Context) int
	linger  time.Duration           // how long a deleted pod is still there
	refuse  func(*http.Request) int // a status other than 0 is the answer
	log     func(name, line string) string
}

// ran is a relay that a kubelet runs.
type ran struct {
	address string
	stop    context.CancelFunc
	done    chan struct{}
	log     string
}

func startKube(t *testing.T, nodes *tls.Config) *kube {
	t.Helper()
	k := &kube{tls: nodes, pods: map[string]*corev1.Pod{}, running: map[string]*ran{}}
	k.Server = httptest.NewServer(k)
	t.Cleanup(func() {
		k.Close()
		for _, name := range k.names() {
			k.end(name, corev1.PodFailed)
		}
	})
	return k
}

func (k *kube) client(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: k.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (k *kube) names() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var names []string
	for name := range k.pods {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// dial is a port-forward.
func (k *kube) dial(ctx context.Context, _, pod string, port int) (net.Conn, error) {
	k.mu.Lock()
	r := k.running[pod]
	k.mu.Unlock()
	if r == nil || port != Port {
		return nil, fmt.Errorf("nothing listens on %d of %s", port, pod)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
}

// end ends a relay, as a crash or a deletion does.
func (k *kube) end(name string, phase corev1.PodPhase) {
	k.mu.Lock()
	r := k.running[name]
	delete(k.running, name)
	if pod := k.pods[name]; pod != nil {
		pod.Status.Phase = phase
	}
	k.mu.Unlock()
	if r != nil {
		r.stop()
		<-r.done
	}
}

// add puts a pod there that is not of this run.
func (k *kube) add(pod *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	pod.UID = types.UID("uid-" + pod.Name)
	if pod.CreationTimestamp.IsZero() {
		pod.CreationTimestamp = metav1.Now()
	}
	k.pods[pod.Name] = pod
}

func (k *kube) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if k.refuse != nil {
		if code := k.refuse(r); code != 0 {
			k.answer(w, code, &metav1.Status{TypeMeta: statusType, Status: metav1.StatusFailure, Code: int32(code), Reason: metav1.StatusReasonForbidden, Message: "forbidden by the test"})
			return
		}
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/kube-system/pods")
	name, sub, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	switch {
	case ok && r.Method == http.MethodPost:
		k.create(w, r)
	case ok && name == "":
		k.list(w, r)
	case ok && sub == "log":
		k.serveLog(w, name)
	case ok && r.Method == http.MethodDelete:
		k.remove(w, r, name)
	case ok:
		k.get(w, name)
	default:
		k.answer(w, http.StatusNotFound, notFound(r.URL.Path))
	}
}

func (k *kube) answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

func notFound(name string) *metav1.Status {
	return &metav1.Status{TypeMeta: statusType, Status: metav1.StatusFailure, Code: 404, Reason: metav1.StatusReasonNotFound, Message: name + " not found"}
}

func (k *kube) create(w http.ResponseWriter, r *http.Request) {
	pod := &corev1.Pod{}
	if err := json.NewDecoder(r.Body).Decode(pod); err != nil {
		k.answer(w, http.StatusBadRequest, &metav1.Status{Status: metav1.StatusFailure, Code: 400, Message: err.Error()})
		return
	}
	k.mu.Lock()
	pod.CreationTimestamp = metav1.Time{Time: k.clock}
	k.mu.Unlock()
	k.add(pod)
	if k.fate == nil || k.fate(pod) {
		if err := k.run(pod); err != nil {
			k.answer(w, http.StatusBadRequest, &metav1.Status{Status: metav1.StatusFailure, Code: 400, Message: err.Error()})
			return
		}
	}
	if k.created != nil {
		if code := k.created(r.Context()); code != 0 {
			reason := map[int]metav1.StatusReason{
				409: metav1.StatusReasonAlreadyExists, 500: metav1.StatusReasonInternalError, 504: metav1.StatusReasonTimeout,
			}[code]
			k.answer(w, code, &metav1.Status{TypeMeta: statusType, Status: metav1.StatusFailure, Code: int32(code), Reason: reason})
			return
		}
	}
	k.get(w, pod.Name)
}

// run is the kubelet: it starts what the pod's arguments say.
func (k *kube) run(pod *corev1.Pod) error {
	server := &Server{TLS: k.tls, Idle: time.Minute, Alone: time.Minute}
	flags := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	caller := flags.String("caller", "", "")
	lifetime := flags.Duration("lifetime", 0, "")
	flags.StringSliceVar(&server.Members, "member", nil, "")
	flags.StringSliceVar(&server.Peers, "peer", nil, "")
	for _, file := range []string{"cacert", "cert", "key"} {
		flags.String(file, "", "")
	}
	err := flags.Parse(pod.Spec.Containers[0].Args[1:])
	if err != nil {
		return err
	}
	if server.Caller, err = ParsePin(*caller); err != nil {
		return err
	}
	if server.Key, err = NewKey(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), *lifetime)
	r := &ran{address: listener.Addr().String(), stop: stop, done: make(chan struct{}), log: LogLine(server.Key.Pin()) + "\n"}
	go func() {
		_ = server.Serve(ctx, listener)
		close(r.done)
		k.end(pod.Name, corev1.PodSucceeded)
	}()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running[pod.Name] = r
	pod.Status.Phase = corev1.PodRunning
	return nil
}

func (k *kube) get(w http.ResponseWriter, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if pod := k.pods[name]; pod != nil {
		k.answer(w, http.StatusOK, pod)
		return
	}
	k.answer(w, http.StatusNotFound, notFound(name))
}

func (k *kube) list(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := &corev1.PodList{}
	for _, pod := range k.pods {
		wanted, err := labels.Parse(r.URL.Query().Get("labelSelector"))
		if err == nil && wanted.Matches(labels.Set(pod.Labels)) {
			list.Items = append(list.Items, *pod)
		}
	}
	k.answer(w, http.StatusOK, list)
}

func (k *kube) serveLog(w http.ResponseWriter, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.running[name]
	if r == nil {
		k.answer(w, http.StatusNotFound, notFound(name))
		return
	}
	line := r.log
	if k.log != nil {
		line = k.log(name, line)
	}
	_, _ = w.Write([]byte(line))
}

func (k *kube) remove(w http.ResponseWriter, r *http.Request, name string) {
	var options metav1.DeleteOptions
	_ = json.NewDecoder(r.Body).Decode(&options)
	k.mu.Lock()
	pod := k.pods[name]
	k.mu.Unlock()
	switch {
	case pod == nil:
		k.answer(w, http.StatusNotFound, notFound(name))
		return
	case options.Preconditions != nil && *options.Preconditions.UID != pod.UID:
		k.answer(w, http.StatusConflict, &metav1.Status{Status: metav1.StatusFailure, Code: 409, Reason: metav1.StatusReasonConflict})
		return
	}
	k.end(name, corev1.PodSucceeded)
	forget := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.pods, name)
		k.deleted = append(k.deleted, name)
	}
	if k.linger > 0 {
		time.AfterFunc(k.linger, forget)
	} else {
		forget()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answer(w, http.StatusOK, pod)
}

var statusType = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
