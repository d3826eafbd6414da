package tunnel

import (
	"errors"
	"io"
	"testing"
)

func TestRemoteSentinel(t *testing.T) {
	for _, test := range []struct {
		message string
		got     bool
		want    error
	}{
		{"failed to connect to localhost:2379 inside namespace: connect: connection refused", false, ErrRefused},
		{"error forwarding port 2379 to pod x, uid : container not found", false, ErrRefused},
		{"Error: No such container", false, ErrRefused},
		{"unable to do port forwarding: socat not found", false, ErrRefused},
		{"sandbox is not running", false, ErrRefused},
		{"read tcp4 127.0.0.1:2379: read: connection reset by peer", false, ErrDropped},
		{"write: broken pipe", true, ErrDropped},
		{"sandbox is not running", true, ErrDropped},
	} {
		if got := remoteSentinel(test.message, test.got); !errors.Is(got, test.want) {
			t.Errorf("%q after data %v: %v, want %v", test.message, test.got, got, test.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	tunnel := target{testPod, 2379}
	for _, test := range []struct {
		err  error
		want string
	}{
		{tunnel.error(ErrForbidden), "tunnel to kube-system/etcd-a:2379: forbidden"},
		{tunnel.refused(" connection refused\n", false), "tunnel to kube-system/etcd-a:2379: connection refused: refused by the node"},
		{tunnel.dropped(io.EOF), "tunnel to kube-system/etcd-a:2379: tunnel dropped: EOF"},
		{
			target{pod: testPod}.refused(`Internal error occurred: unable to upgrade connection: container not found ("etcd")`, false),
			`exec in kube-system/etcd-a: Internal error occurred: unable to upgrade connection: container not found ("etcd"): the container is not running`,
		},
		{
			target{pod: testPod}.refused("Internal error occurred: unable to upgrade connection: pod does not exist", false),
			"exec in kube-system/etcd-a: Internal error occurred: unable to upgrade connection: pod does not exist: the pod is gone",
		},
		{target{pod: testPod}.error(ErrForbidden), "exec in kube-system/etcd-a: forbidden"},
		{&ExitError{testPod, []string{"etcdctl", "x"}, 1, "no"}, "exec in kube-system/etcd-a: etcdctl ended with 1: no"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("error reads %q, want %q", got, test.want)
		}
	}
	if errors.Is(tunnel.dropped(io.EOF), io.EOF) {
		t.Error("a dropped tunnel looks like a clean end")
	}
}
