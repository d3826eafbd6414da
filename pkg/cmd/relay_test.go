package cmd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
)

// TestRelayCommand runs what runs in the pod, beside a real etcd.
func TestRelayCommand(t *testing.T) {
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	pair := c.Authority.Issue(etcdtest.Leaf{CommonName: "node"})
	dir := t.TempDir()
	args := []string{"relay", "--member=" + c.Members[0].Addr()}
	for name, content := range map[string][]byte{"cacert": c.Authority.PEM, "cert": pair.CertPEM, "key": pair.KeyPEM} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--"+name+"="+path)
	}
	key, err := relay.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	address := etcdtest.FreeAddr(t)
	args = append(args, "--caller="+key.Pin().String(), "--listen="+address)

	s, _, errOut := testSession(nil)
	log, out := io.Pipe()
	s.Out = out
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	go func() {
		ended <- s.execute(ctx, newRootCommand(s), args)
		out.Close()
	}()
	lines := bufio.NewReader(log)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("no line: %v, %s", err, errOut)
	}
	_, text, _ := strings.Cut(strings.TrimSpace(line), " key ")
	pin, err := relay.ParsePin(text)
	if err != nil || relay.LogLine(pin)+"\n" != line {
		t.Fatalf("the line is %q: %v", line, err)
	}
	caller := &relay.Caller{Key: key, Relay: pin, Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}
	client := c.OpenWith(etcd.Endpoint{Name: "a", URL: "http://a:2379", Dial: func(ctx context.Context) (net.Conn, error) {
		return caller.DialContext(ctx, relay.Stream{Member: c.Members[0].Addr(), ALPN: relay.HTTP2})
	}}, etcd.Options{})
	if _, err := client.Status(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("it says more: %q, %v", rest, err)
	}
	if code := <-ended; code != exitOK || errOut.Len() > 0 {
		t.Errorf("exit code %d, %s", code, errOut)
	}
}

func TestRelayCommandRefuses(t *testing.T) {
	const pin = "--caller=sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for args, want := range map[string]int{
		"relay":               exitUsage,
		"relay --caller=x":    exitUsage,
		"relay " + pin:        exitUsage,
		"relay " + pin + " a": exitUsage,
		"relay " + pin + " --cacert=/nowhere/ca --cert=/nowhere/cert --key=/nowhere/key": exitError,
	} {
		s, _, _ := testSession(nil)
		if code := s.execute(t.Context(), newRootCommand(s), strings.Fields(args)); code != want {
			t.Errorf("%s: exit code %d, want %d", args, code, want)
		}
	}
}

// A question does not outlast Ctrl-C.
func TestConfirmInterrupted(t *testing.T) {
	s, _, _ := testSession(nil)
	in, _ := io.Pipe()
	s.In = in
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.confirm(ctx, "?"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
