package restore

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

// StepOptions is how the nodes are laid out. Zero values are kubeadm's.
type StepOptions struct {
	ManifestDir string // of the static pods: /etc/kubernetes/manifests
	Manifest    string // etcd's own, without .yaml: etcd
	DataDir     string // of etcd: /var/lib/etcd
	// DataDirFlag is etcd's --data-dir, as its command line has it. A node may run another
	// etcd besides, which is left alone then. Empty, as where it is no flag: every etcd is
	// waited for to stop.
	DataDirFlag string
	HealthAddr  string // where etcd answers /health by plain HTTP: 127.0.0.1:2381
	// Copy takes a directory to a node, with {src}, {host} and {dst} filled in:
	// "scp -rp {src} root@{host}:{dst}".
	Copy string
	// Here is the member whose node is the machine on which the data was made: nothing has to
	// be sent there. Empty: none is.
	Here string
	// Kubectl is kubectl with the flags that choose the cluster: "kubectl".
	Kubectl string
	// Status is the command that tells how etcd is, with -o jsonpath: "kubectl etcd status".
	Status string
	// RestartKubelet is the command on a node: "systemctl restart kubelet".
	RestartKubelet string
}

func (o StepOptions) withDefaults() StepOptions {
	for _, d := range []struct {
		field *string
		value string
	}{
		{&o.ManifestDir, "/etc/kubernetes/manifests"},
		{&o.Manifest, "etcd"},
		{&o.DataDir, "/var/lib/etcd"},
		{&o.HealthAddr, "127.0.0.1:2381"},
		{&o.Copy, "scp -rp {src} root@{host}:{dst}"},
		{&o.Kubectl, "kubectl"},
		{&o.Status, "kubectl etcd status"},
		{&o.RestartKubelet, "systemctl restart kubelet"},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	return o
}

// NextSteps is the way from the plan's data directories to a running kubeadm cluster,
// in order and complete. Member names are taken for node names, as kubeadm has it.
// There are none for a plan that leaves members out: all are switched over together.
//
// The static pods' own --initial-cluster, --initial-cluster-state and
// --initial-cluster-token need no change: with a log in the data directory etcd reads
// members, IDs and cluster ID from it (server/embed/etcd.go, StartEtcd asks
// isMemberInitialized; etcdserver/bootstrap.go, bootstrapClusterWithWAL).
func NextSteps(plan *Plan, options StepOptions) []runbook.Step {
	if !plan.Complete() {
		return nil
	}
	o := options.withDefaults()
	w := walk{
		plan: plan, StepOptions: o, nodes: names(plan.Members),
		fresh: o.DataDir + "/member.new-" + plan.Token,
		old:   o.DataDir + "/member.old-" + plan.Token,
		held:  path.Dir(o.ManifestDir) + "/manifests.held",
	}
	steps := []runbook.Step{w.copy(), w.stop(), w.stopped(), w.swap(), w.startEtcd(), w.serving(), w.firstAPI(), w.look()}
	if len(w.nodes) > 1 {
		steps = append(steps, w.otherAPIs())
	}
	return append(steps, w.kubelets(), w.healthy(), w.discard())
}

// walk writes the steps down.
type walk struct {
	StepOptions
	plan             *Plan
	nodes            []string
	fresh, old, held string // directories on a node
}

func (w walk) everywhere(s runbook.Step) runbook.Step {
	s.Where, s.On = "every control-plane node", w.nodes
	if len(w.nodes) == 1 {
		s.Where = "node " + w.nodes[0]
	}
	return s
}

func (w walk) copy() runbook.Step {
	s := runbook.Step{
		ID: "copy", Title: "Copy each member's data to its node", Where: "here",
		Why:   "It goes beside the data that etcd uses now, on the same file system: the switch is then only a rename.",
		Check: "The commands end without an error.",
	}
	for _, target := range w.plan.Build {
		command := w.Copy
		if target.Name == w.Here {
			command = "test -e {dst} || { rm -rf {dst}.part && cp -rp {src} {dst}.part && mv -T {dst}.part {dst}; }"
		}
		s.Commands = append(s.Commands, strings.NewReplacer(
			"{src}", runbook.Quote(path.Join(target.Dir, "member")), "{host}", runbook.Quote(host(target)), "{dst}", runbook.Quote(w.fresh),
		).Replace(command))
	}
	return s
}

func (w walk) stop() runbook.Step {
	return w.everywhere(runbook.Step{
		ID: "stop", Title: "Stop every API server and every member of this etcd",
		Commands: []string{
			"mkdir -p " + runbook.Quote(w.held),
			w.hold("kube-apiserver"),
			w.hold(w.Manifest),
		},
		Why: "On all nodes before anything else: an etcd that goes on beside the restored ones is a second cluster with the old data, and an API server that sees both breaks objects. kubelet stops a static pod whose manifest is gone.",
	})
}

// hold moves a manifest away, and does nothing when that has been done.
func (w walk) hold(name string) string {
	from, to := w.ManifestDir+"/"+name+".yaml", w.held+"/"+name+".yaml"
	return fmt.Sprintf("test -f %[2]s || mv %[1]s %[2]s", runbook.Quote(from), runbook.Quote(to))
}

func (w walk) giveBack(name string) string {
	from, to := w.held+"/"+name+".yaml", w.ManifestDir+"/"+name+".yaml"
	return fmt.Sprintf("test -f %[2]s || mv %[1]s %[2]s", runbook.Quote(from), runbook.Quote(to))
}

// stopped looks for this etcd by its command line, where that is known: pgrep itself, and
// the shell around it, begin with other words.
func (w walk) stopped() runbook.Step {
	etcd := "pgrep -x etcd"
	if w.DataDirFlag != "" {
		etcd = "pgrep -f " + runbook.Quote(`^([^ ]*/)?etcd( .*)? --?data-dir[= ]`+regexp.QuoteMeta(w.DataDirFlag)+`( |$)`)
	}
	check := "It ends with 0 within three minutes, having printed the IDs of processes that were still there. Go on only when that is so on every node."
	if w.DataDirFlag == "" {
		check += " A node that runs another etcd besides, as one for the events, never gets there: make the steps with --live, which knows this one."
	}
	return w.everywhere(runbook.Step{
		ID: "stopped", Title: "See that they have stopped",
		Commands: []string{
			"timeout 180 sh -c " + runbook.Quote("while pgrep -x kube-apiserver || "+etcd+"; do sleep 1; done"),
		},
		Check: check,
		Why:   "Data that moves away under a running etcd is still written to.",
	})
}

// swap moves nothing where the new data is not there, and nothing twice, also when its
// commands are pasted and one of them fails. Between the two moves there is no member
// directory; that the old one is aside tells a node that is done from one without a copy.
func (w walk) swap() runbook.Step {
	fresh, old, member := runbook.Quote(w.fresh), runbook.Quote(w.old), runbook.Quote(w.DataDir+"/member")
	// a copy that broke off and was made again lands inside of what had come
	arrived := fmt.Sprintf("test -f %s && test ! -e %s", runbook.Quote(w.fresh+"/snap/db"), runbook.Quote(w.fresh+"/member"))
	like := fmt.Sprintf(`for like in %s %s %s; do if test -e "$like"; then break; fi; done`, member, old, runbook.Quote(w.DataDir))
	return w.everywhere(runbook.Step{
		ID: "swap", Title: "Put the old data aside and the new in its place",
		Commands: []string{
			fmt.Sprintf(`{ %[1]s; } || { test ! -e %[3]s && test -e %[2]s; } || { echo "copy this node's data to it first; what is left of a copy that broke off has to go before: rm -rf "%[3]s >&2; false; }`, arrived, old, fresh),
			fmt.Sprintf(`test ! -e %[1]s || { %[2]s; chown -R --reference="$like" %[1]s && chmod --reference="$like" %[1]s; }`, fresh, like),
			fmt.Sprintf(`test ! -e %[1]s || { %[2]s; if command -v selinuxenabled >/dev/null && selinuxenabled; then chcon -R --reference="$like" %[1]s; fi; }`, fresh, like),
			fmt.Sprintf("test -e %[1]s || { %[2]s && if test -e %[3]s; then mv -T %[3]s %[1]s; else mkdir -m 700 %[1]s; fi; }", old, arrived, member),
			fmt.Sprintf("test ! -e %[1]s || { %[2]s && test -e %[3]s && mv -T %[1]s %[4]s && sync; }", fresh, arrived, old, member),
			fmt.Sprintf("test ! -e %s && test -e %s && test -f %s && echo switched", fresh, old, runbook.Quote(w.DataDir+"/member/snap/db")),
		},
		Why:   "The new data gets the owner, the mode and the SELinux label of the old. The old data stays beside it: to go back, stop all as above and change the two directories again, on every node.",
		Check: "The last command prints \"switched\".",
	})
}

func (w walk) startEtcd() runbook.Step {
	return w.everywhere(runbook.Step{
		ID: "start-etcd", Title: "Start every member of this etcd",
		Commands: []string{w.giveBack(w.Manifest)},
		Why:      "The manifests need no change: with data in place etcd takes members, IDs and cluster ID from there and ignores its --initial flags, the token too.",
	})
}

func (w walk) serving() runbook.Step {
	ask := fmt.Sprintf(`(exec 3<>/dev/tcp/%s && printf "GET /health HTTP/1.0\r\n\r\n" >&3 && timeout 5 grep -q "\"health\":\"true\"" <&3) 2>/dev/null`, strings.Replace(w.HealthAddr, ":", "/", 1))
	return w.everywhere(runbook.Step{
		ID: "serving", Title: "Wait until etcd serves",
		Commands: []string{"timeout 300 bash -c " + runbook.Quote("until "+ask+"; do sleep 1; done")},
		Check:    "It ends with 0: this etcd has a leader and answers a linearizable read.",
	})
}

func (w walk) firstAPI() runbook.Step {
	return runbook.Step{
		ID: "first-apiserver", Title: "Start one API server", Where: "node " + w.nodes[0], On: w.nodes[:1],
		Commands: []string{w.giveBack("kube-apiserver")},
		Why:      "One is enough to see whether this is the state that was wanted, while nothing else acts on it through the others.",
	}
}

func (w walk) look() runbook.Step {
	return runbook.Step{
		ID: "look", Title: "Look whether this is the state that was wanted", Where: "here",
		Commands: []string{
			"timeout 300 sh -c " + runbook.Quote("until "+w.Kubectl+" get --raw=/readyz >/dev/null 2>&1; do sleep 2; done"),
			w.Kubectl + " get nodes",
			w.Kubectl + " get pods --all-namespaces",
		},
		Check: "Objects that were made after the snapshot are gone, those from before are there. Connection errors are normal until a load balancer has found the one API server.",
	}
}

func (w walk) otherAPIs() runbook.Step {
	return runbook.Step{
		ID: "other-apiservers", Title: "Start the other API servers",
		Where: "node " + strings.Join(w.nodes[1:], ", node "), On: w.nodes[1:],
		Commands: []string{w.giveBack("kube-apiserver")},
	}
}

func (w walk) kubelets() runbook.Step {
	s := w.everywhere(runbook.Step{
		ID: "kubelets", Title: "Restart every kubelet",
		Commands: []string{w.RestartKubelet},
		Why:      "They hold what the cluster was after the snapshot.",
	})
	s.Where = "every node, workers too"
	return s
}

// healthy counts the members instead of trusting the exit code: status is content with a
// quorum, and its warnings are also about what no restore changes (two members, a quota).
func (w walk) healthy() runbook.Step {
	n := len(w.plan.Members)
	whole := fmt.Sprintf(`test "$(%s -o jsonpath="{.items[*].verdict.healthy} of {.items[*].verdict.voters}" 2>/dev/null)" = "%d of %d"`, w.Status, n, n)
	return runbook.Step{
		ID: "healthy", Title: "See that etcd is whole again", Where: "here",
		Commands: []string{
			"timeout 300 sh -c " + runbook.Quote("until "+whole+"; do sleep 2; done"),
			w.Status,
		},
		Check: fmt.Sprintf("The first command ends with 0, and status says that %d of %d members are healthy.", n, n),
	}
}

// discard leaves the folder for manifests where something else lies in it: a member that was
// replaced has its manifest of before there.
func (w walk) discard() runbook.Step {
	return w.everywhere(runbook.Step{
		ID: "discard", Title: "Later, when all is well for good: delete the old data", Later: true,
		Commands: []string{"rm -rf " + runbook.Quote(w.old), fmt.Sprintf("test ! -e %[1]s || rmdir --ignore-fail-on-non-empty %[1]s", runbook.Quote(w.held))},
	})
}

// host is where a member's node is reached.
func host(target Target) string {
	switch name := target.Host(); {
	case name == "":
		return target.Name
	case strings.Contains(name, ":"):
		return "[" + name + "]"
	default:
		return name
	}
}

// Host is the host of the member's first peer URL, a name or an address; empty: there is none.
func (t Target) Host() string {
	for _, s := range t.PeerURLs {
		if u, err := url.Parse(s); err == nil && u.Hostname() != "" {
			return u.Hostname()
		}
	}
	return ""
}
