package tunnel

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	gwebsocket "github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// runCommand is a container: it runs what the query asks for. A negative code ends
// the connection without a status.
type runCommand func(r *http.Request, stdout, stderr io.Writer) (code int)

const noStatus = -1

func (a *apiServer) serveExec(w http.ResponseWriter, r *http.Request) {
	if gwebsocket.IsWebSocketUpgrade(r) {
		a.serveExecWebSocket(w, r)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{remotecommand.StreamProtocolV4Name}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream, 3)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		streams <- s
		return nil
	})
	if conn == nil {
		return
	}
	defer conn.Close()
	byType := map[string]httpstream.Stream{}
	for len(byType) < 3 { // error, stdout, stderr
		s := <-streams
		byType[s.Headers().Get(corev1.StreamType)] = s
	}
	code := a.run(r, byType[corev1.StreamTypeStdout], byType[corev1.StreamTypeStderr])
	if code == noStatus {
		return
	}
	_, _ = byType[corev1.StreamTypeError].Write(exitStatus(code))
	for _, s := range byType {
		_ = s.Close()
	}
	<-conn.CloseChan()
}

func (a *apiServer) serveExecWebSocket(w http.ResponseWriter, r *http.Request) {
	upgrader := gwebsocket.Upgrader{Subprotocols: []string{remotecommand.StreamProtocolV5Name}}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	code := a.run(r, channel{ws, remotecommand.StreamStdOut}, channel{ws, remotecommand.StreamStdErr})
	if code == noStatus {
		return
	}
	_, _ = channel{ws, remotecommand.StreamErr}.Write(exitStatus(code))
	_ = ws.WriteMessage(gwebsocket.CloseMessage, gwebsocket.FormatCloseMessage(gwebsocket.CloseNormalClosure, ""))
	_, _, _ = ws.ReadMessage() // until the client has closed
}

// channel is one of the streams of v5.channel.k8s.io: a byte before each message.
type channel struct {
	ws *gwebsocket.Conn
	id byte
}

func (c channel) Write(p []byte) (int, error) {
	if err := c.ws.WriteMessage(gwebsocket.BinaryMessage, append([]byte{c.id}, p...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// exitStatus is what the kubelet sends when a command ends.
func exitStatus(code int) []byte {
	status := metav1.Status{Status: metav1.StatusSuccess}
	if code != 0 {
		status = metav1.Status{
			Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason,
			Message: fmt.Sprintf("command terminated with non-zero exit code: %d", code),
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{
				Type: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(code),
			}}},
		}
	}
	encoded, err := json.Marshal(status)
	if err != nil {
		panic(err)
	}
	return encoded
}
