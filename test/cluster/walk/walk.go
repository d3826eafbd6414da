//go:build unix

// Package walk carries out the printed steps of `kubectl etcd restore` and others, and those of
// a document, on a test cluster, word for word, as the person would who reads them.
//
// A test node has no sshd and no systemd: scp and systemctl are stand-ins on PATH that
// do on this machine what the real ones do on theirs. No command is changed.
package walk

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/test/cluster"
)

// Step is what a walker needs of one of nextSteps in `restore -o json`.
type Step struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Where    string   `json:"where"`
	On       []string `json:"on"`
	Commands []string `json:"commands"`
	Later    bool     `json:"later"`
}

// Read takes the steps out of what `restore -o json` printed.
func Read(r io.Reader) ([]Step, error) {
	var report struct {
		Steps []Step `json:"nextSteps"`
	}
	if err := json.NewDecoder(r).Decode(&report); err != nil {
		return nil, fmt.Errorf("read steps: %w", err)
	}
	if len(report.Steps) == 0 {
		return nil, fmt.Errorf("read steps: there are none in nextSteps")
	}
	return report.Steps, nil
}

// Split parts the way to a running cluster from what comes later, when somebody has
// seen that all is well: deleting the old data.
func Split(steps []Step) (now, later []Step) {
	for _, step := range steps {
		if step.Later {
			later = append(later, step)
		} else {
			now = append(now, step)
		}
	}
	return now, later
}

// Steps runs every command in order, each step on all its nodes before the next, and
// stops at the first that fails. Each command is written to log before it runs.
func Steps(ctx context.Context, c *cluster.Cluster, steps []Step, log io.Writer) error {
	return From(ctx, c, nil, steps, log)
}

// From is Steps as somebody does them who sits at a node: that is where "here" is. Without
// one it is this machine.
func From(ctx context.Context, c *cluster.Cluster, here *cluster.Node, steps []Step, log io.Writer) error {
	shims, err := os.MkdirTemp("", "kubectl-etcd-walk-")
	if err != nil {
		return fmt.Errorf("walk: %w", err)
	}
	defer os.RemoveAll(shims) //nolint:errcheck // two small scripts in the system's folder
	w := walker{cluster: c, at: here, shims: shims, log: log}
	if err := w.prepare(ctx); err != nil {
		return fmt.Errorf("walk: %w", err)
	}
	for i, step := range steps {
		_, _ = fmt.Fprintf(log, "\n# %d. %s (%s)\n", i+1, step.Title, step.Where)
		if err := w.step(ctx, step); err != nil {
			return fmt.Errorf("step %s: %w", step.ID, err)
		}
	}
	return nil
}

type walker struct {
	cluster *cluster.Cluster
	at      *cluster.Node // nil: this machine
	shims   string
	log     io.Writer
}

func (w walker) step(ctx context.Context, step Step) error {
	if len(step.On) == 0 && w.at != nil {
		step.On = []string{w.at.Name}
	}
	if len(step.On) == 0 {
		for _, command := range step.Commands {
			if err := w.here(ctx, command); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range step.On {
		n, err := w.cluster.Node(name)
		if err != nil {
			return err
		}
		for _, command := range step.Commands {
			if err := w.onNode(ctx, n, command); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w walker) here(ctx context.Context, command string) error {
	_, _ = fmt.Fprintf(w.log, "$ %s\n", command)
	c := exec.CommandContext(ctx, "sh", "-c", command)
	c.Env = append(os.Environ(), "PATH="+w.shims+":"+os.Getenv("PATH"), "KUBECONFIG="+w.cluster.Kubeconfig())
	return w.run(c, command)
}

func (w walker) onNode(ctx context.Context, n *cluster.Node, command string) error {
	_, _ = fmt.Fprintf(w.log, "root@%s# %s\n", n.Name, command)
	c, err := n.Command(ctx, "sh", "-c", "export PATH=/run/walk:$PATH KUBECONFIG=/etc/kubernetes/admin.conf; "+command)
	if err != nil {
		return err
	}
	return w.run(c, command)
}

func (w walker) run(c *exec.Cmd, command string) error {
	c.Stdout, c.Stderr = w.log, w.log
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// prepare writes the stand-ins: scp here, systemctl on the nodes.
func (w walker) prepare(ctx context.Context) error {
	var hosts strings.Builder
	for _, n := range w.cluster.Nodes() {
		_, _ = fmt.Fprintf(&hosts, "%s) fs='%s' ;;\n", n.IP, n.Path("/"))
	}
	scp := "#!/bin/sh\n# scp -rp SRC root@HOST:DST\nset -eu\ntest \"$1\" = -rp\nto=${3#root@}\ncase ${to%%:*} in\n" + hosts.String() +
		"*) echo \"scp: no such host: ${to%%:*}\" >&2; exit 1 ;;\nesac\ntest ! -e \"$fs${to#*:}\"\ncp -rp \"$2\" \"$fs${to#*:}\"\n"
	if err := os.WriteFile(filepath.Join(w.shims, "scp"), []byte(scp), 0o755); err != nil {
		return err
	}
	for _, n := range w.cluster.Nodes() {
		// The node's process 1 starts a kubelet that has ended again, as systemd does.
		if _, err := n.Run(ctx, `mkdir -p /run/walk
cat > /run/walk/systemctl <<'S'
#!/bin/sh
test "$*" = "restart kubelet" && pkill -x kubelet
S
chmod 755 /run/walk/systemctl`); err != nil {
			return err
		}
	}
	return nil
}
