package tune

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// TestParseStarted reads what a real etcd logged.
func TestParseStarted(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	etcdtest.Start(t, 1, etcdtest.Options{Configure: func(c *embed.Config) {
		c.LogOutputs, c.ZapLoggerBuilder = []string{log}, nil
		c.TickMs, c.ElectionMs, c.SnapshotCount = 150, 1500, 12345
		c.QuotaBackendBytes, c.MaxRequestBytes, c.PreVote = 3<<30, 2<<20, false
	}})
	file, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := ParseStarted(file)
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"heartbeat-interval": "150", "election-timeout": "1500", "snapshot-count": "12345",
		"quota-backend-bytes": "3221225472", "max-request-bytes": "2097152", "pre-vote": "false",
		"initial-election-tick-advance": "true", "force-new-cluster": "false",
	} {
		if got[flag] != (Setting{want, FromLog}) {
			t.Errorf("%s: %v, want %s", flag, got[flag], want)
		}
	}
	if _, ok := got["name"]; ok {
		t.Error("fields that are no flags' values are read, too")
	}
}

func TestParseStartedOfOtherLogs(t *testing.T) {
	for name, log := range map[string]string{
		"empty": "", "3.4's own logger": "2020-01-01 00:00:00.000000 I | etcdserver: heartbeat = 100ms\n",
		"about the line": `{"level":"info","msg":"I was starting an etcd server","heartbeat-interval":"1s"}`,
	} {
		if _, err := ParseStarted(strings.NewReader(log)); !errors.Is(err, ErrNoStart) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseStarted(strings.NewReader(strings.Repeat("x", 2*maxLogLine))); err == nil || errors.Is(err, ErrNoStart) {
		t.Errorf("a line without end: %v", err)
	}
}

// TestLogged: what a process said of itself counts where it differs from what it should
// have been started with; where that was not read it is all there is.
func TestLogged(t *testing.T) {
	f := kubeadmFacts(3, ms, 6*ms)
	for i := range f.Members {
		f.Members[i].Logged = Settings{"heartbeat-interval": {"100", FromLog}, "election-timeout": {"1000", FromLog}, "quota-backend-bytes": {"2147483648", FromLog}}
	}
	for _, flag := range []string{"heartbeat-interval", "quota-backend-bytes"} { // as by default: 0 is 2 GiB
		item := itemOf(t, Advise(f, Options{}), flag)
		if len(item.Current) != 1 || item.Current[0].From != FromDefault || item.Current[0].Pending != nil {
			t.Errorf("%s: %+v", flag, item.Current)
		}
	}
	f.Members[1].Logged["heartbeat-interval"] = Setting{"200", FromLog}
	item := itemOf(t, Advise(f, Options{}), "heartbeat-interval")
	if item.Level != LevelCritical || !strings.Contains(item.Reason, "restart pending: the process of m2") {
		t.Errorf("another value runs: %s %s", item.Level, item.Reason)
	}
	f.Members[1].Settings, f.Members[1].Unread = nil, "it is in a file"
	item = itemOf(t, Advise(f, Options{}), "heartbeat-interval")
	if c := item.Current[1]; c.Value != "200" || c.From != FromLog || c.Missing != "" {
		t.Errorf("only the log tells: %+v", item.Current)
	}
}
