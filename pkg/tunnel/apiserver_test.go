package tunnel

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	gwebsocket "github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	constants "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

var testPod = Pod{"kube-system", "etcd-a"}

// apiServer is an API server and the node behind it, as far as this package sees
// them: it upgrades like kube-apiserver and the container runtime do, with their
// libraries, and joins the streams with real TCP.
type apiServer struct {
	*httptest.Server
	network *network
	// target is where a pod's port is: what is given to net.Dial.
	target func(port string) string
	// refuse answers a request instead of an upgrade, if it returns a status.
	refuse func(*http.Request) *metav1.Status
	// noWebSocket: like an API server or a proxy that is too old for it.
	noWebSocket bool
	// closesData: the node closes the data stream before it says why, as containerd
	// does; else it resets it afterwards, as the kubelet's own server does.
	closesData bool
	run        runCommand
	protocols  protocols
}

// startAPIServer starts an API server whose pods' ports are all at address.
func startAPIServer(t *testing.T, address string, change func(*apiServer)) *apiServer {
	t.Helper()
	a := &apiServer{
		target: func(string) string { return address },
		refuse: func(*http.Request) *metav1.Status { return nil },
	}
	if change != nil {
		change(a)
	}
	a.Server = httptest.NewUnstartedServer(a)
	a.Config.ErrorLog = log.New(io.Discard, "", 0) // refused certificates
	a.network = &network{Listener: a.Listener, conns: map[net.Conn]bool{}}
	a.Listener = a.network
	a.StartTLS()
	t.Cleanup(func() {
		a.network.cut()
		a.Close()
	})
	return a
}

func (a *apiServer) config() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	return &rest.Config{
		Host: a.URL, BearerToken: "secret",
		TLSClientConfig: rest.TLSClientConfig{CAData: ca},
	}
}

func (a *apiServer) dialer(t *testing.T, options Options) *Dialer {
	t.Helper()
	d, err := New(a.config(), options)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (a *apiServer) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := a.dialer(t, Options{}).DialContext(t.Context(), testPod, 2379)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := a.authorize(r); status != nil && status.Kind == "" { // the kubelet's, handed on
		http.Error(w, status.Message, int(status.Code))
		return
	} else if status != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(status.Code))
		_ = json.NewEncoder(w).Encode(status)
		return
	}
	webSocket := gwebsocket.IsWebSocketUpgrade(r)
	if webSocket && a.noWebSocket {
		http.Error(w, "you must be mistaken", http.StatusBadRequest)
		return
	}
	a.protocols.add(webSocket)
	switch {
	case strings.HasSuffix(r.URL.Path, "/exec"):
		a.serveExec(w, r)
	case webSocket:
		a.serveWebSocket(w, r)
	default:
		a.serveSPDY(w, r)
	}
}

func (a *apiServer) authorize(r *http.Request) *metav1.Status {
	if r.Header.Get("Authorization") != "Bearer secret" {
		return newStatus(http.StatusUnauthorized, "Unauthorized")
	}
	return a.refuse(r)
}

func newStatus(code int32, message string) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: code, Message: message,
	}
}

func (a *apiServer) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	upgrader := gwebsocket.Upgrader{Subprotocols: []string{constants.WebsocketsSPDYTunnelingPortForwardV1}}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	node := newNode(a.target, a.closesData)
	conn, err := spdy.NewServerConnection(portforward.NewTunnelingConnectionWithLogger(klog.Logger{}, ws), node.accept)
	if err == nil {
		node.serve(conn)
	}
}

func (a *apiServer) serveSPDY(w http.ResponseWriter, r *http.Request) {
	if _, err := httpstream.Handshake(r, w, []string{constants.PortForwardV1Name}); err != nil {
		return
	}
	node := newNode(a.target, a.closesData)
	if conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, node.accept); conn != nil {
		node.serve(conn)
	}
}

// node does what containerd does with one upgraded connection
// (k8s.io/cri-streaming pkg/streaming/portforward and containerd's sandbox_portforward).
type node struct {
	target     func(port string) string
	closesData bool
	streams    chan httpstream.Stream
}

func newNode(target func(string) string, closesData bool) *node {
	return &node{target: target, closesData: closesData, streams: make(chan httpstream.Stream, 1)}
}

func (n *node) accept(stream httpstream.Stream, _ <-chan struct{}) error {
	if stream.Headers().Get(corev1.PortHeader) == "" || stream.Headers().Get(corev1.PortForwardRequestIDHeader) == "" {
		return errors.New("a header is missing")
	}
	n.streams <- stream
	return nil
}

func (n *node) serve(conn httpstream.Connection) {
	defer conn.Close()
	byType := map[string]httpstream.Stream{}
	for len(byType) < 2 {
		select {
		case <-conn.CloseChan():
			return
		case s := <-n.streams:
			byType[s.Headers().Get(corev1.StreamType)] = s
		}
	}
	data, errs := byType[corev1.StreamTypeData], byType[corev1.StreamTypeError]
	conn.RemoveStreams(data, errs)
	n.forward(data, errs)
	<-conn.CloseChan()
}

func (n *node) forward(data, errs httpstream.Stream) {
	defer data.Close()
	defer errs.Close()
	port := data.Headers().Get(corev1.PortHeader)
	err := splice(n.target(port), data)
	if n.closesData {
		_ = data.Close()
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		_, _ = fmt.Fprintf(errs, "error forwarding port %s to pod etcd-a, uid 1: %v", port, err)
		_, _ = data.Reset(), errs.Reset()
	}
}

func splice(address string, stream io.ReadWriter) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return fmt.Errorf("failed to connect to localhost inside namespace: %w", err)
	}
	defer c.Close()
	pod := c.(*net.TCPConn)
	up := make(chan struct{})
	go func() {
		_, _ = io.Copy(pod, stream)
		_ = pod.CloseWrite()
		close(up)
	}()
	_, err = io.Copy(stream, pod)
	select {
	case <-up:
	case <-time.After(time.Second):
	}
	return err
}

// network is the API server's network: it counts connections and can break them.
type network struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]bool
}

type trackedConn struct {
	net.Conn
	network *network
}

func (n *network) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tracked := &trackedConn{c, n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[tracked] = true
	return tracked, nil
}

func (c *trackedConn) Close() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	delete(c.network.conns, c)
	return c.Conn.Close()
}

// cut resets every connection, as the kernel does for a server that dies.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.(*trackedConn).Conn.(*net.TCPConn).SetLinger(0)
		_ = c.(*trackedConn).Conn.Close()
	}
}

func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// protocols notes which were used.
type protocols struct {
	mu   sync.Mutex
	used []string
}

func (p *protocols) add(webSocket bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := "SPDY"
	if webSocket {
		name = "WebSocket"
	}
	p.used = append(p.used, name)
}

func (p *protocols) list() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.used, " ")
}

// startTCP serves every connection with handle and returns the address.
func startTCP(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { _ = c.Close() })() // at the test's end
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		open.Wait()
	})
	return l.Addr().String()
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// silent reads and says nothing.
func silent(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

// eventually waits for what another goroutine or process is about to do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after 20 s", what)
		}
	}
}
