package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Request sets one wire.
type Request struct {
	Device  string  `json:"device"`
	Setting Setting `json:"setting"`
}

// answer is what is said to each Request.
type answer struct {
	Error string `json:"error,omitempty"`
}

// Serve answers requests until ctx ends, then removes every wire. Connections carry
// JSON, an answer to each request.
func (ws *Wires) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // ends Accept
	defer stop()
	var serving sync.WaitGroup
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			cancel()
			serving.Wait()
			return errors.Join(err, ws.Close())
		}
		serving.Go(func() { ws.answer(ctx, conn) })
	}
}

func (ws *Wires) answer(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close() //nolint:errcheck // every answer that was written has been read
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var r Request
		if in.Decode(&r) != nil {
			return // the other side is done
		}
		var a answer
		if err := ws.Set(r.Device, r.Setting); err != nil {
			a.Error = err.Error()
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

// Ask has the server behind conn carry out requests, one by one, and closes conn.
func Ask(ctx context.Context, conn net.Conn, requests ...Request) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close() //nolint:errcheck // nothing more is asked
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for _, r := range requests {
		if err := out.Encode(r); err != nil {
			return fmt.Errorf("set wire %s: %w", r.Device, err)
		}
		var a answer
		if err := in.Decode(&a); errors.Is(err, io.EOF) {
			return fmt.Errorf("set wire %s: the server has ended", r.Device)
		} else if err != nil {
			return fmt.Errorf("set wire %s: %w", r.Device, err)
		}
		if a.Error != "" {
			return fmt.Errorf("set wire %s: %s", r.Device, a.Error)
		}
	}
	return nil
}
