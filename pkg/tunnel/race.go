package tunnel

import (
	"context"
	"time"
)

// headStart is what a server has before the next one is tried beside it: longer than a
// set-up takes over most networks.
const headStart = time.Second

// race opens a session through the first of several servers that serves. A server that
// takes its time is not given up: the next one is started beside it (as RFC 8305 does
// with addresses). A port-forward has no effect, so that two of them do no harm.
type race struct {
	dialer  *Dialer
	target  target
	order   []int   // the servers' indices
	lanes   []*lane // started, in that order
	running int     // lanes that have not reported
	refused bool    // no other server will do better
	reports chan *lane
}

// lane is one server's try.
type lane struct {
	server  server
	index   int // of server
	cancel  context.CancelFunc
	session *session
	err     error
}

// firstSession is the session of the server that was first to open one, started in the
// order of eachServer.
func (d *Dialer) firstSession(ctx context.Context, target target) (*session, error) {
	limited, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	r := &race{dialer: d, target: target, order: d.order(), reports: make(chan *lane)}
	defer r.end(ctx)
	pause := d.pause(limited)
	for r.start(limited); r.running > 0; r.start(limited) {
		select {
		case <-time.After(pause):
		case l := <-r.reports:
			if r.take(ctx, l); l.err == nil {
				d.used.Store(int32(l.index))
				return l.session, nil
			}
		}
	}
	return nil, r.failure(ctx)
}

// pause is the head start, or less where ctx would end before each server had a chance.
func (d *Dialer) pause(ctx context.Context) time.Duration {
	end, _ := ctx.Deadline()
	return max(min(d.headStart, time.Until(end)/time.Duration(len(d.servers)+1)), time.Millisecond)
}

// start starts the next server, if there is one that may do better.
func (r *race) start(ctx context.Context) {
	begun := len(r.lanes)
	if begun == len(r.order) || r.refused || begun > 0 && ctx.Err() != nil {
		return
	}
	index := r.order[begun]
	ctx, cancel := context.WithCancel(ctx)
	l := &lane{server: r.dialer.servers[index], index: index, cancel: cancel}
	r.lanes = append(r.lanes, l)
	r.running++
	go func() {
		l.err = l.server.attempt(ctx, func(ctx context.Context, s server) (err error) {
			l.session, err = s.open(ctx, r.target)
			return deadlineExceeded(err)
		})
		r.reports <- l
	}()
}

// take notes how l ended. A refusal ends those after l only: one before it may be a
// proxy that alone knows what the kubeconfig's credentials mean.
func (r *race) take(ctx context.Context, l *lane) {
	r.running--
	l.cancel()
	if l.err != nil && !elsewhere(l.err) {
		r.refused = true
		for i := len(r.lanes) - 1; r.lanes[i] != l; i-- {
			r.lanes[i].cancel()
		}
	}
	r.dialer.log.DebugContext(ctx, "reach pod", "server", l.server.url.String(), "error", l.err)
}

// end waits for the lanes that lost, and closes what they opened nevertheless.
func (r *race) end(ctx context.Context) {
	for _, l := range r.lanes {
		l.cancel()
	}
	for r.running > 0 {
		l := <-r.reports
		if r.take(ctx, l); l.session != nil {
			l.session.close()
		}
	}
}

// failure is what the servers said, up to the one that refused.
func (r *race) failure(ctx context.Context) error {
	failure := &setupFailure{ctx: ctx.Err()}
	for _, l := range r.lanes {
		failure.add(l.server, l.err)
		if !elsewhere(l.err) {
			break
		}
	}
	return failure
}
