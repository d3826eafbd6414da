//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
	"github.com/kubectl-etcd/kubectl-etcd/test/docs"
)

// exampleRun is what is special about the run of an example. Most need nothing: they
// run in a folder that holds snapshot.db, ca.crt, client.crt and client.key, and end
// with exit code 0.
type exampleRun struct {
	exit    int
	says    string        // on stdout
	env     string        // what the example takes for granted
	without string        // a file of the folder that it makes itself
	then    string        // a command that fails unless the example did what it says
	goesOn  bool          // until it is interrupted
	age     time.Duration // of the cluster; it is waited for
}

const certificatesInEnv = "ETCDCTL_CACERT=ca.crt ETCDCTL_CERT=client.crt ETCDCTL_KEY=client.key"

// exampleRuns are by the command line, word for word. Each of a page is here (pkg/cmd,
// TestDocumentedCommands); of the helps' those with something special.
var exampleRuns = map[string]exampleRun{
	"kubectl etcd status": {says: "3 of 3 members healthy"},
	"kubectl etcd status --fail-on warning -o jsonpath='{.items[*].verdict.level}'":      {says: "ok"},
	"kubectl etcd health --check H02,H08 --set learner-age=5m --fail-on warning -o json": {says: `"level": "ok"`},
	"kubectl etcd health --deep -o wide --fail-on never":                                 {env: certificatesInEnv, says: "H40"},
	"kubectl etcd tune":                                                {env: certificatesInEnv, says: "CONFIDENCE"},
	"kubectl etcd tune --suggest":                                      {env: certificatesInEnv, says: "heartbeat-interval"},
	"kubectl etcd tune --suggest -o patch":                             {env: certificatesInEnv, says: "CompactHashCheck"},
	"kubectl etcd tune --simulate rtt=130ms,fsync=8ms,members=5":       {says: "election-timeout=1430"},
	"kubectl etcd tune --simulate rtt=2ms,fsync=6ms,members=3 -o wide": {says: "etcd-io/etcd#9333"},
	"kubectl etcd backup -f snapshot.db": {
		env: certificatesInEnv, without: "snapshot.db", then: "etcdutl snapshot status snapshot.db"},
	"kubectl etcd backup --cacert ca.crt --cert client.crt --key client.key": {
		then: "etcdutl snapshot status etcd-main-*Z.db"},
	"kubectl etcd backup -f snapshot.db --cacert ca.crt --cert client.crt --key client.key": {
		without: "snapshot.db", then: "etcdutl snapshot status snapshot.db"},
	"kubectl etcd backup -f - --endpoints https://10.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key | gzip > snapshot.db.gz": {
		then: "gzip -dc snapshot.db.gz >piped.db && etcdutl snapshot status piped.db"},
	"kubectl etcd backup -f snapshot.db --helper": {
		without: "snapshot.db", then: "etcdutl snapshot status snapshot.db"},
	"kubectl etcd backup --on-node -f snapshot.db": {
		without: "snapshot.db", then: "etcdutl snapshot status snapshot.db"},
	"kubectl etcd restore": {exit: 2, says: "snapshot.db"},
	"kubectl etcd restore --from-file snapshot.db --out-dir restored": {
		then: "test -f restored/node0/member/snap/db && test -f restored/node2/member/snap/db"},
	"kubectl etcd restore --from-file snapshot.db --data-dir /var/lib/etcd-new --member node0": {
		then: "test -f /var/lib/etcd-new/member/snap/db && rm -rf /var/lib/etcd-new"},
	"kubectl etcd restore --from-file snapshot.db --out-dir restored --dry-run --initial-cluster a=https://10.0.0.1:2380,b=https://10.0.0.2:2380,c=https://10.0.0.3:2380": {
		says: "plan: restore snapshot.db", then: "test ! -e restored"},
	"kubectl etcd restore --from-file snapshot.db --out-dir restored --live": {
		then: "test -f restored/node1/member/snap/db"},
	"kubectl etcd restore --from-file snapshot.db --to-revision 12345 --out-dir restored": {exit: 1}, // it ends before
	"kubectl etcd restore --from-data-dir /mnt/node1/var/lib/etcd --out-dir restored":     {exit: 1}, // no such disk
	"kubectl etcd keygen -f archive-key.txt":                                              {without: "archive-key.txt", then: "grep -q AGE-SECRET-KEY archive-key.txt"},
	"kubectl etcd keygen --signing -f writer-key":                                         {says: "ssh-ed25519 ", then: "grep -q 'BEGIN OPENSSH PRIVATE KEY' writer-key"},
	"kubectl etcd backup --archive archive --recipient age1…":                             {env: certificatesInEnv, then: "test $(ls archive/*/main/*/*.info | wc -l) = 2"},
	"kubectl etcd backup --follow --archive archive --recipient age1… --keep-within 48h --keep-daily 14": {
		env: certificatesInEnv, goesOn: true, then: "ls archive/*/main/*/*.kseg.age"},
	"kubectl etcd tail --cacert ca.crt --cert client.crt --key client.key": {goesOn: true, says: "leases kube-system/kube-scheduler"},
	"kubectl etcd tail --into archive --recipient age1… --cacert ca.crt --cert client.crt --key client.key": {
		goesOn: true, says: "segment", then: "ls archive/*/main/*/*.kseg.age"},
	"kubectl etcd export --archive archive --identity archive-key.txt --latest -f snapshot.db": {
		without: "snapshot.db", then: "etcdutl snapshot status snapshot.db"},
	"kubectl etcd export --archive archive --identity archive-key.txt --to-time -15m -f snapshot.db": {
		without: "snapshot.db", then: "etcdutl snapshot status snapshot.db"},
	"kubectl etcd restore --archive archive --identity archive-key.txt --latest --out-dir restored --dry-run": {
		says: "plan: restore revision", then: "test ! -e restored"},
	"kubectl etcd restore --archive archive --identity archive-key.txt --to-time -15m --out-dir restored": {
		then: "test -f restored/node1/member/snap/db"},
	"kubectl etcd backups --archive archive":                                                                            {says: "every moment from revision"},
	"kubectl etcd verify --archive archive --identity archive-key.txt --deep":                                           {says: "is whole"},
	"kubectl etcd prune --archive archive --keep-within 48h --keep-daily 14 --yes":                                      {says: "nothing to prune"},
	"kubectl etcd defrag --dry-run":                                                                                     {says: "3 members"},
	"kubectl etcd defrag --cacert ca.crt --cert client.crt --key client.key":                                            {exit: 2, says: "plan: defragment 3 members"}, // nobody can be asked
	"kubectl etcd defrag --auto --yes --archive archive":                                                                {env: certificatesInEnv, says: "nothing needs to be defragmented"},
	"kubectl etcd defrag --dry-run --min-free 1GiB --min-fragmentation 30% -o json":                                     {says: `"kind": "Defragmentation"`},
	"kubectl etcd compact --keep 5m --dry-run --cacert ca.crt --cert client.crt --key client.key":                       {says: "compact", age: 7 * time.Minute},
	"kubectl etcd compact --keep 5m --yes --cacert ca.crt --cert client.crt --key client.key":                           {says: "compact", age: 7 * time.Minute},
	"kubectl etcd compact --revision 123456789 --physical --dry-run --cacert ca.crt --cert client.crt --key client.key": {says: "plan: compact"},
	"kubectl etcd alarm list":             {says: "no alarm is raised"},
	"kubectl etcd alarm disarm --dry-run": {says: "no alarm is to be disarmed"},
	"kubectl etcd alarm disarm --yes --cacert ca.crt --cert client.crt --key client.key": {says: "no alarm is to be disarmed"},
	"kubectl etcd completion install": {says: "kubectl_complete-etcd", then: "kubectl_complete-etcd member remo | grep -q ^remove"},
	// Three members are well, none is called node3 or node9, and nobody can be asked.
	"kubectl etcd member list": {says: "3 voters, quorum 2, 3 healthy: can lose 1"},
	"kubectl etcd member add node3 --peer-urls https://10.0.0.4:2380 --dry-run":                                          {says: "add node3 as a learner"},
	"kubectl etcd member add node3 --peer-urls https://10.0.0.4:2380 --cacert ca.crt --cert client.crt --key client.key": {exit: 2, says: "add node3 as a learner"},
	"kubectl etcd member promote node3 --dry-run":                                                                        {exit: 1},
	"kubectl etcd member promote node3 --wait 30m --cacert ca.crt --cert client.crt --key client.key":                    {exit: 1},
	"kubectl etcd member remove node1 --dry-run":                                                                         {says: "2 voters, quorum 2, 2 healthy: can lose 0"},
	"kubectl etcd member remove node9 --yes --cacert ca.crt --cert client.crt --key client.key":                          {exit: 1},
	"kubectl etcd member move-leader --dry-run":                                                                          {says: "move the leadership from"},
	"kubectl etcd member move-leader node1 --yes --cacert ca.crt --cert client.crt --key client.key":                     {says: "ok: "},
	"kubectl etcd member replace node2 --dry-run":                                                                        {exit: 1, says: "node2 answers"},
	"kubectl etcd member replace node2 --cacert ca.crt --cert client.crt --key client.key":                               {exit: 1, says: "node2 answers"},
	"kubectl etcd member replace node2 --kubeadm-join --cacert ca.crt --cert client.crt --key client.key":                {exit: 1, says: "node2 answers"},
	"kubectl etcd agent manifest --defrag --schedule \"17 3 * * 0\" --image IMAGE > defrag.yaml": {
		then: "kubectl --kubeconfig /etc/kubernetes/admin.conf apply --dry-run=server -f defrag.yaml"},
	"kubectl etcd agent manifest --archive s3://bucket/etcd --env-from etcd-archive --recipient age1… --keep-within 48h --image IMAGE > agent.yaml": {
		then: "kubectl --kubeconfig /etc/kubernetes/admin.conf apply --dry-run=server -f agent.yaml"},
	// Of the pages.
	"kubectl etcd version": {says: "etcd server"},
	"kubectl etcd backup --follow --archive /backup/etcd --recipient age1… --keep-within 48h --keep-daily 14": {
		env: certificatesInEnv, goesOn: true, then: "ls archive/*/main/*/*.kseg.age"},
	"kubectl etcd backups --archive /backup/etcd":                                                      {says: "every moment from revision"},
	"kubectl etcd tail --archive /backup/etcd --identity archive-key.txt --from -2h --deletes -n shop": {},
	"kubectl etcd restore --archive /backup/etcd --identity archive-key.txt --to-revision 342 --out-dir restored --dry-run": {
		says: "plan: restore revision", then: "test ! -e restored"},
	"kubectl etcd member replace node2":                           {env: certificatesInEnv, exit: 1, says: "node2 answers"},
	"kubectl-etcd status --on-node":                               {says: "3 of 3 members healthy"},
	"kubectl-etcd backup --on-node -f snapshot.db":                {without: "snapshot.db", then: "etcdutl snapshot status snapshot.db"},
	"kubectl etcd status -o jsonpath='{.items[*].verdict.level}'": {says: "ok"},
	"kubectl-etcd restore --on-node --live --from-file snapshot.db --out-dir restored": {
		then: "test -f restored/node2/member/snap/db"},
	"kubectl etcd backup -f snapshot.db --relay --relay-image registry.example.com/kubectl-etcd:v1": {
		without: "snapshot.db", then: "etcdutl snapshot status snapshot.db"},
}

// TestExamples runs every example of every help, and every command of ours that a page has in
// a fenced block, on a control-plane node, by its shell, word for word but for placeholders:
// 10.0.0.1 behind --endpoints is the node's own address, age1… a public key, IMAGE and
// registry.example.com's an image, /backup/etcd an archive, whose newest revision is 342. An
// example that was added to a help is run here without being named; one that is named here
// and stands nowhere fails.
func TestExamples(t *testing.T) {
	bench := newExampleBench(t)
	run := map[string]bool{}
	for _, line := range append(helpExamples(t), typedOnPages(t)...) {
		if !run[line] {
			run[line] = true
			t.Run(line, func(t *testing.T) { bench.run(t, line, exampleRuns[line]) })
		}
	}
	for line := range exampleRuns {
		if !run[line] {
			t.Errorf("no help and no page has %s", line)
		}
	}
}

// helpExamples are the examples of every help.
func helpExamples(t *testing.T) (lines []string) {
	t.Helper()
	for command, help := range helps(t, "") {
		examples := examplesOf(help)
		if len(examples) == 0 {
			t.Errorf("the help of kubectl etcd %s has no example", command)
		}
		lines = append(lines, examples...)
	}
	return lines
}

// typedOnPages are the commands that stand to be typed in README.md, CONTRIBUTING.md and docs;
// recovery.md's are TestRecovery's.
func typedOnPages(t *testing.T) (lines []string) {
	t.Helper()
	all, err := docs.Lines("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range all {
		if line.Typed {
			lines = append(lines, line.Text)
		}
	}
	return lines
}

var listedCommand = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) +\S`)

// helps are what `kubectl etcd COMMAND --help` says of a command, by its name, and of
// those that are listed there, at any depth.
func helps(t *testing.T, command string) map[string]string {
	t.Helper()
	args := append(strings.Fields(command), "--help")
	got := finish(t, pluginCommand(nil, args...), args)
	got.wantExit(t, 0)
	all := map[string]string{command: got.stdout}
	before, _, parent := strings.Cut(got.stdout, "COMMAND --help tells more about one.")
	if !parent {
		return all
	}
	_, lists, _ := strings.Cut(before, "\nExamples:\n")
	for _, match := range listedCommand.FindAllStringSubmatch(lists, -1) {
		if match[1] != "kubectl" { // of the examples
			maps.Copy(all, helps(t, strings.TrimSpace(command+" "+match[1])))
		}
	}
	return all
}

// examplesOf are the command lines of a help's examples.
func examplesOf(help string) (lines []string) {
	_, rest, _ := strings.Cut(help, "\nExamples:\n")
	rest = strings.ReplaceAll(rest, "\\\n    ", "") // a line that goes on
	for line := range strings.Lines(rest) {
		switch text := strings.TrimSpace(line); {
		case strings.HasPrefix(line, "  kubectl etcd"):
			lines = append(lines, text)
		case text != "" && !strings.HasPrefix(line, "  #"):
			return lines // the next section
		}
	}
	return lines
}

// exampleBench is a node with the plugin, and the files that examples take.
type exampleBench struct {
	node  *cluster.Node
	dir   string // on the node
	files string // on this machine
	// recipient stands in the place of age1…, newest in that of revision 342.
	recipient string
	newest    segment.Revision
	runs      int
}

func newExampleBench(t *testing.T) *exampleBench {
	t.Helper()
	n := node(t, "node0")
	b := &exampleBench{node: n, dir: "/var/lib/etcd/examples", files: t.TempDir()} // where the node has a folder to itself
	t.Cleanup(func() {
		if err := os.RemoveAll(n.Path(b.dir)); err != nil {
			t.Error(err)
		}
	})
	if err := os.MkdirAll(n.Path(b.dir+"/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, plugin, n.Path(b.dir+"/bin/kubectl-etcd"))
	for _, name := range []string{"ca.crt", "client.crt", "client.key"} {
		copyFile(t, filepath.Join(shared.Certs(), name), filepath.Join(b.files, name))
	}
	copyFile(t, takeBackup(t).Path, filepath.Join(b.files, "snapshot.db"))
	b.recipient, b.newest = exampleArchive(t, b.files)
	return b
}

// exampleArchive makes an archive of the shared cluster in a folder, that goes from half an
// hour ago to ten minutes ago by its writer's clock, and the key that opens it.
func exampleArchive(t *testing.T, dir string) (recipient string, newest segment.Revision) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "archive-key.txt"), identity.String()+"\n")
	bucket, err := store.OpenBucket(t.Context(), filepath.Join(dir, "archive"), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bucket.Close() })
	uid := kubectl(t, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
	archive, err := store.NewArchive(bucket, store.ArchiveID{Name: "kubernetes-" + uid[:8], Etcd: "main"}, store.Keys{Recipients: []age.Recipient{identity.Recipient()}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var ago, segments atomic.Int64
	ago.Store(int64(30 * time.Minute))
	err = backup.Follow(ctx, backup.ArchiveOptions{
		Archive: archive, KubeSystemUID: uid, Every: time.Hour, Flush: time.Second, ScratchDir: t.TempDir(), Random: rand.Uint32,
		Sources: []backup.Source{{Name: "etcd-node0", Client: member(t, "etcd-node0")}},
		Now:     func() time.Time { return time.Now().Add(-time.Duration(ago.Load())) },
		Inspect: func(ctx context.Context, r io.ReaderAt, size int64, at segment.Revision) (*backup.BaseContents, error) {
			b, err := restore.InspectBase(ctx, r, size, at)
			return (*backup.BaseContents)(b), err
		},
		OnNotice: func(n backup.Notice) {
			switch {
			case n.Base != nil:
				ago.Store(int64(10 * time.Minute))
			case n.Segment != nil:
				newest = n.Segment.Summary.Last
				switch segments.Add(1) {
				case 2: // up to now: what is run may take some minutes
					ago.Store(0)
				case 4:
					cancel()
				}
			}
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return identity.Recipient().String(), newest
}

// run gives an example a folder of its own.
func (b *exampleBench) run(t *testing.T, line string, how exampleRun) {
	b.runs++
	if how.age > 0 {
		time.Sleep(how.age - clusterAge(t))
	}
	dir := fmt.Sprintf("%s/%d", b.dir, b.runs)
	if err := os.CopyFS(b.node.Path(dir), os.DirFS(b.files)); err != nil {
		t.Fatal(err)
	}
	if how.without != "" {
		if err := os.Remove(filepath.Join(b.node.Path(dir), how.without)); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.ReplaceAll(line, "--endpoints https://10.0.0.1:2379", "--endpoints https://"+b.node.IP+":2379")
	text = strings.NewReplacer("age1…", b.recipient, "IMAGE", relayImageName, "/backup/etcd", "archive",
		"registry.example.com/kubectl-etcd:v1", relayImageName, "--to-revision 342 ", fmt.Sprintf("--to-revision %d ", b.newest)).Replace(text)
	if strings.Contains(text, "--relay ") {
		loadRelayImage(t)
	}
	if old := "--revision 123456789"; strings.Contains(text, old) {
		text = strings.Replace(text, old, fmt.Sprint("--revision ", statusOf(t).highestRevision()-10), 1)
	}
	if how.goesOn {
		text, how.exit = "timeout --preserve-status -s INT 12 "+text, 130
	}
	got := finish(t, b.shell(t, dir, how.env, text), []string{line})
	got.wantExit(t, how.exit)
	got.wantStdout(t, how.says)
	if how.then != "" {
		if out, err := b.shell(t, dir, "", how.then).CombinedOutput(); err != nil {
			t.Errorf("%s\nthen %s: %v: %s", line, how.then, err, out)
		}
	}
}

// clusterAge is how long ago the API server first started.
func clusterAge(t *testing.T) time.Duration {
	t.Helper()
	made, err := time.Parse(time.RFC3339, kubectl(t, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.creationTimestamp}"))
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(made)
}

// shell is a command line in the node's own shell, with kubeadm's own kubeconfig.
func (b *exampleBench) shell(t *testing.T, dir, env, line string) *exec.Cmd {
	t.Helper()
	c, err := b.node.Command(t.Context(), "bash", "-o", "pipefail", "-c",
		fmt.Sprintf("cd %s && export PATH=%s/bin:$PATH %s\n%s", dir, b.dir, env, line))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
