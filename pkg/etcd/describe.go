package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"
)

// maxError bounds the text of a row's error, in bytes.
const maxError = 160

// describe is what a person is told of a reading that did not go well; empty if it did.
func describe(r *reading) string {
	switch {
	case r.err != nil:
		return explainShortly(r.err, r.timeout)
	case r.status == nil:
		return "there is no way to reach it"
	case r.status.Leader == 0:
		return "knows no leader"
	case r.health != nil:
		return "answers, but a linearizable read failed: " + explainShortly(r.health, r.timeout)
	}
	return ""
}

// explainShortly is err in few words: the deepest cause that a person can act on.
func explainShortly(err error, timeout time.Duration) string {
	var refused *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, syscall.ECONNREFUSED) && errors.As(err, &refused) && refused.Addr != nil:
		return "connection refused by " + refused.Addr.String()
	case errors.Is(err, context.DeadlineExceeded) && timeout == 0:
		return "no answer in time" + behind(err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer in %s", timeout) + behind(err)
	}
	var call *callError
	if errors.As(err, &call) {
		return shorten(call.Error())
	}
	return shorten(err.Error())
}

// behind is what is known about why no answer came: ": tunnel to …".
func behind(err error) string {
	var call *callError
	if !errors.As(err, &call) {
		return ""
	}
	text := strings.TrimPrefix(call.Error(), context.DeadlineExceeded.Error())
	return shorten(text)
}

// Shorten is err in one line of bounded length, as a row shows it.
func Shorten(err error) string { return explainShortly(err, 0) }

// shorten keeps the first line, and of a long one whole words.
func shorten(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "")
		if space := strings.LastIndexByte(text, ' '); space > maxError/2 {
			text = text[:space]
		}
		text = strings.TrimRight(text, ",;: ") + " …"
	}
	return text
}
