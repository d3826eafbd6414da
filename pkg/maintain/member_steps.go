package maintain

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

// Joining is a member that was added, and what its etcd has to be started with.
type Joining struct {
	Member         etcd.Member // by its own name
	InitialCluster string
	Node           string // its node's name
	Layout         Layout
	// Promote is the command that promotes it; empty for one that is a voter already.
	Promote string
}

// Layout is how a node keeps etcd's static pod. Zero values are kubeadm's.
type Layout struct {
	ManifestDir string // /etc/kubernetes/manifests
	Manifest    string // etcd's own, without .yaml: etcd
	DataDir     string // on the node: /var/lib/etcd
	// DataDirFlag is etcd's --data-dir, as its command line has it; empty where it is no flag.
	DataDirFlag string
}

func (l Layout) withDefaults() Layout {
	for _, d := range []struct {
		field *string
		value string
	}{
		{&l.ManifestDir, "/etc/kubernetes/manifests"}, {&l.Manifest, "etcd"}, {&l.DataDir, "/var/lib/etcd"},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	return l
}

// Environment is what the new member's etcd has to be started with, as etcd reads it.
func (j Joining) Environment() []string {
	return []string{
		"ETCD_NAME=" + runbook.Quote(j.Member.Name),
		"ETCD_INITIAL_CLUSTER=" + runbook.Quote(j.InitialCluster),
		"ETCD_INITIAL_CLUSTER_STATE=existing",
		"ETCD_INITIAL_ADVERTISE_PEER_URLS=" + runbook.Quote(strings.Join(j.Member.PeerURLs, ",")),
	}
}

// NodeSteps is the way to a running member on a node that has etcd's manifest, as where its
// disk was lost, or its data is to go.
func (j Joining) NodeSteps() []runbook.Step {
	w := joinWalk{Joining: j, Layout: j.Layout.withDefaults()}
	w.held = path.Dir(w.ManifestDir) + "/manifests.held"
	w.old = fmt.Sprintf("%s/member.before-%s", w.DataDir, j.Member.ID)
	w.before = fmt.Sprintf("%s/%s.before-%s", w.held, w.Manifest, j.Member.ID)
	steps := []runbook.Step{w.stop(), w.aside(), w.start()}
	if j.Promote != "" {
		steps = append(steps, w.promote())
	}
	return append(steps, w.discard())
}

// joinWalk writes the steps down.
type joinWalk struct {
	Joining
	Layout
	held        string // the folder for manifests that are away
	old, before string // what was there before: data, and manifest
}

func (w joinWalk) there(s runbook.Step) runbook.Step {
	s.Where, s.On = "node "+w.Node, []string{w.Node}
	return s
}

func (w joinWalk) active() string { return w.ManifestDir + "/" + w.Manifest + ".yaml" }
func (w joinWalk) away() string   { return w.held + "/" + w.Manifest + ".yaml" }

// unseen is for how long a kubelet may not have noticed that a manifest is gone: it looks every 20 s
// at least (its fileCheckFrequency).
const unseen = "25 seconds ago"

// stop takes etcd's manifest away, unless that was done, and waits for etcd's end. Of one that
// crashes again and again there may be no process just now, and the kubelet would start it once
// more, with the old flags in the folder that is empty by then: so it has to have seen first that
// the manifest is gone. Once the member's own manifest is in place there is nothing to stop.
func (w joinWalk) stop() runbook.Step {
	active, away, etcd := runbook.Quote(w.active()), runbook.Quote(w.away()), "pgrep -x etcd"
	if w.DataDirFlag != "" {
		etcd = "pgrep -f " + runbook.Quote(`^([^ ]*/)?etcd( .*)? --?data-dir[= ]`+regexp.QuoteMeta(w.DataDirFlag)+`( |$)`)
	}
	return w.there(runbook.Step{
		ID: "stop", Title: "Stop what is left of etcd there",
		Commands: []string{
			"mkdir -p " + runbook.Quote(w.held),
			fmt.Sprintf(`test -e %[1]s || test -e %[2]s || mv %[3]s %[2]s`, runbook.Quote(w.before), away, active),
			fmt.Sprintf("test -e %s || timeout 180 sh -c %s", runbook.Quote(w.before), runbook.Quote(fmt.Sprintf(`while test -n "$(find %s -newerct "%s" 2>/dev/null)" || %s; do sleep 1; done`, away, unseen, etcd))),
		},
		Why:   "A member that was removed must not come back with its old data, and the kubelet may start one that crashes again and again once more until it has seen that its manifest is gone: that takes up to 25 seconds. Where there is no manifest kubeadm never made a control plane of this node: join it with kubeadm, which adds the member by itself.",
		Check: "The last command ends with 0 within three minutes.",
	})
}

// aside moves data away that another member of that name has left. Once the manifest is in
// place, what is there is the new member's own.
func (w joinWalk) aside() runbook.Step {
	member, old := runbook.Quote(w.DataDir+"/member"), runbook.Quote(w.old)
	return w.there(runbook.Step{
		ID: "aside", Title: "Put its old data aside",
		Commands: []string{
			fmt.Sprintf("test -e %s || test -e %s || test ! -e %s || mv -T %s %s", runbook.Quote(w.before), old, member, member, old),
		},
		Why: "A member that joins begins with nothing, and gets all from the leader.",
	})
}

// start writes the manifest anew, with both flags behind --data-dir in whatever way they were there
// before, looks at what came of it, and puts it in place as a whole: the kubelet never sees half
// of one. The two flags must be in it once: etcd takes the last, and with an old one of a new
// cluster it would be a second, empty cluster under this node's API server.
func (w joinWalk) start() runbook.Step {
	flag := "--initial-cluster=" + w.InitialCluster
	made, before, away := runbook.Quote(w.before+".new"), runbook.Quote(w.before), runbook.Quote(w.away())
	drop := `/^ *- ["']*--initial-cluster\(-state\)\{0,1\}=/d`
	insert := `s|^\( *- \)["']*--data-dir=.*|&\n\1` + sedText(flag) + `\n\1--initial-cluster-state=existing|`
	missing := "the manifest is not as kubeadm writes it for this member: give " + w.away() + " these flags by hand, then move it into " + w.ManifestDir + ": " + strings.Join(w.flags(), " ")
	return w.there(runbook.Step{
		ID: "start", Title: "Start it as the new member",
		Commands: []string{
			fmt.Sprintf("test -e %s || sed -e %s -e %s %s >%s", before, runbook.Quote(drop), runbook.Quote(insert), away, made),
			fmt.Sprintf("test -e %s || { %s; } || { echo %s >&2; false; }", before, strings.Join(w.finds(made), " && "), runbook.Quote(missing)),
			fmt.Sprintf("test -e %[1]s || { chmod --reference=%[2]s %[3]s && mv -T %[3]s %[4]s && mv -T %[2]s %[1]s; }", before, away, made, runbook.Quote(w.active())),
		},
		Why:   "Its command line gets " + flag + " and --initial-cluster-state=existing: etcd asks those members who it is.",
		Check: "kubelet starts etcd within a minute.",
	})
}

// flags are what its command line has to have.
func (w joinWalk) flags() []string {
	return []string{
		"--name=" + w.Member.Name, "--initial-advertise-peer-urls=" + strings.Join(w.Member.PeerURLs, ","),
		"--initial-cluster=" + w.InitialCluster, "--initial-cluster-state=existing",
	}
}

// finds are commands that see each of the flags in a file once.
func (w joinWalk) finds(file string) (commands []string) {
	for _, flag := range w.flags() {
		commands = append(commands, fmt.Sprintf(`test "$(grep -c %s %s)" = 1`, runbook.Quote(`^ *- ["']*`+basicRegexp(flag)+`["']*$`), file))
	}
	return append(commands,
		fmt.Sprintf("test \"$(grep -cE -e %s %s)\" = 2", runbook.Quote(`-initial-cluster(-state)?([^-a-z]|$)`), file), // in no other spelling
		"! grep -q -e -config-file "+file)
}

// basicRegexp is s as grep finds it, letter by letter.
func basicRegexp(s string) string {
	return strings.NewReplacer(`\`, `\\`, `.`, `\.`, `*`, `\*`, `[`, `\[`, `^`, `\^`, `$`, `\$`).Replace(s)
}

// sedText is s as the replacement of sed's s command with | between its parts.
func sedText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `&`, `\&`, `|`, `\|`).Replace(s)
}

func (w joinWalk) promote() runbook.Step {
	return runbook.Step{
		ID: "promote", Title: "Give it a vote", Where: "here",
		Commands: []string{w.Promote},
		Why:      "It waits until the member has started and is in step with the leader.",
		Check:    "It ends with 0.",
	}
}

func (w joinWalk) discard() runbook.Step {
	return w.there(runbook.Step{
		ID: "discard", Title: "Later, when all is well for good: delete what was there before", Later: true,
		Commands: []string{"rm -rf " + runbook.Quote(w.old) + " " + runbook.Quote(w.before)},
	})
}
