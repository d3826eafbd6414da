package relay

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// A connection begins with one request and its reply, each JSON behind its length (two
// bytes, big-endian). After a stream's reply come the stream's bytes, each direction one
// zstd frame. Before the member's first byte comes a second reply: with TLS 1.3 a member
// refuses a certificate only after the handshake. TLS around it all guards against damage;
// its ALPN carries the version.

// maxMessage bounds a request and a reply.
const maxMessage = 16 << 10

// maxProbes bounds the connects of one request.
const maxProbes = 100

// request is what a connection is for: a stream, or a measurement.
type request struct {
	// Stream is the member to speak with: "10.0.0.1:2379".
	Stream string `json:"stream,omitempty"`
	// ALPN is what the stream will speak to it: HTTP2 or HTTP1.
	ALPN string `json:"alpn,omitempty"`
	// ServerName is what the member's certificate must be for; empty: Stream's host.
	ServerName string `json:"serverName,omitempty"`

	// Probe is a peer's address, "10.0.0.2:2380", to open TCP connections to, one after
	// the other, that carry nothing.
	Probe string `json:"probe,omitempty"`
	// Count is how many, at most maxProbes.
	Count int `json:"count,omitempty"`
}

// validate refuses what no caller of ours sends.
func (r request) validate() error {
	switch {
	case (r.Stream == "") == (r.Probe == ""):
		return errors.New("either a stream or a probe is wanted")
	case r.Stream != "" && r.ALPN != HTTP2 && r.ALPN != HTTP1:
		return fmt.Errorf("ALPN %q is neither %s nor %s", r.ALPN, HTTP2, HTTP1)
	case r.Probe != "" && (r.Count < 1 || r.Count > maxProbes):
		return fmt.Errorf("%d probes are not between 1 and %d", r.Count, maxProbes)
	}
	return nil
}

// reply answers a request.
type reply struct {
	// Error is empty when all is well; Kind then is, too.
	Error string `json:"error,omitempty"`
	Kind  kind   `json:"kind,omitempty"`
	// Connects are how long each TCP connect took, in nanoseconds: of a stream one, to
	// the member; of a probe Count, to the peer.
	Connects []time.Duration `json:"connects,omitempty"`
	// Certificates are those of the stream's connection to the member, in DER: the
	// member's, then the node's client's. They hold no secret.
	Certificates [][]byte `json:"certificates,omitempty"`
}

// kind tells the caller what sort of error it is.
type kind string

const (
	kindTarget kind = "target" // ErrTarget
	kindMember kind = "member" // ErrMember
)

// err is the reply's error with its sentinel.
func (r reply) err() error {
	switch {
	case r.Error == "":
		return nil
	case r.Kind == kindTarget:
		return fmt.Errorf("%w: %s", ErrTarget, r.Error)
	case r.Kind == kindMember:
		return fmt.Errorf("%w: %s", ErrMember, r.Error)
	}
	return fmt.Errorf("the relay refused: %s", r.Error)
}

// refuse makes a reply of err.
func refuse(err error) reply {
	r := reply{Error: err.Error()}
	for sentinel, kind := range map[error]kind{ErrTarget: kindTarget, ErrMember: kindMember} {
		if errors.Is(err, sentinel) {
			r.Kind = kind
			r.Error = strings.TrimPrefix(r.Error, sentinel.Error()+": ") // the caller's end says it again
		}
	}
	return r
}

func writeMessage(w io.Writer, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(body) > maxMessage {
		return fmt.Errorf("a message of %d bytes is too long", len(body))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...))
	return err
}

func readMessage(r io.Reader, message any) error {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint16(head[:])
	if size > maxMessage {
		return fmt.Errorf("a message of %d bytes is too long", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, message)
}
