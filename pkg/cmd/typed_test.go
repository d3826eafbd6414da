package cmd

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// A command that is printed reaches the same etcd, and gives nothing away.
func TestReaching(t *testing.T) {
	s, _, _ := testSession(nil)
	target, flags := newTarget(s), pflag.NewFlagSet("x", pflag.ContinueOnError)
	target.addFlags(flags)
	s.kube.AddFlags(flags)
	flags.Bool("yes", false, "")
	if err := flags.Parse([]string{"--yes", "--on-node=false", "--endpoints", "a,b", "--etcd-user", "root:secret", "--context", "my prod", "--token", "t"}); err != nil {
		t.Fatal(err)
	}
	o := &memberChange{}
	o.target, s.wayToEtcd = target, reaching(flags)
	if got, want := o.command("member", "list"), "kubectl etcd member list --context 'my prod' --endpoints a,b --etcd-user root --on-node=false"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTyped(t *testing.T) {
	s, _, _ := testSession(nil)
	s.wayToEtcd, s.wayToArchive = []string{"--on-node", "--node-root", "/my disk"}, []string{"--archive", "/a"}
	const way = " --on-node --node-root '/my disk'"
	for text, want := range map[string]string{
		"see why: kubectl etcd status":                                         "see why: kubectl etcd status" + way,
		"(kubectl etcd compact --keep 5m, then kubectl etcd alarm disarm), or": "(kubectl etcd compact" + way + " --keep 5m, then kubectl etcd alarm disarm" + way + "), or",
		"kubectl etcd member remove 8e9e05c52164694d; and so on":               "kubectl etcd member remove 8e9e05c52164694d" + way + "; and so on",
		"(kubectl etcd member replace NAME --force)":                           "(kubectl etcd member replace NAME" + way + " --force)",
		"kubectl etcd member replace b.example.com where that one is lost":     "kubectl etcd member replace b.example.com" + way + " where that one is lost",
		// It says itself where, or goes nowhere.
		"there: kubectl etcd status --on-node; or kubectl etcd health": "there: kubectl etcd status --on-node; or kubectl etcd health" + way,
		"kubectl etcd status -n NAMESPACE":                             "kubectl etcd status -n NAMESPACE",
		"kubectl etcd health --help":                                   "kubectl etcd health --help",
		"kubectl etcd help recovery":                                   "kubectl etcd help recovery",
		"see who answers: kubectl etcd status, and so on":              "see who answers: kubectl etcd status, and so on",
		"kubectl etcd members":                                         "kubectl etcd members",
		"kubectl get nodes":                                            "kubectl get nodes",
		"see which moments there are: kubectl etcd backups":            "see which moments there are: kubectl etcd backups --archive /a",
		"kubectl etcd backups --archive LOCATION":                      "kubectl etcd backups --archive LOCATION",
	} {
		if got := s.typed(text); got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", text, got, want)
		}
	}
	s.wayToEtcd, s.wayToArchive = nil, nil
	if got := s.typed("kubectl etcd status"); got != "kubectl etcd status" {
		t.Error(got)
	}
}

// Of several clusters' remedies each names its own.
func TestTypedForOneOfAll(t *testing.T) {
	s, _, _ := testSession(nil)
	target := newTarget(s)
	target.all, s.wayToEtcd = true, []string{"--all-etcd", "--context", "prod"}
	r := &reach{cluster: discover.Cluster{Name: "events", Namespace: "kube-system"}}
	if got, want := target.typedFor(r, "kubectl etcd defrag"), "kubectl etcd defrag --context prod --etcd kube-system/events"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A hint that is printed has the flags of the command that failed, once.
func TestHintsLeadToTheSameEtcd(t *testing.T) {
	for _, test := range []struct {
		line string
		err  error
		want string
	}{
		{"x prod --context c", maintain.ErrNoMember, "kubectl etcd member list --context c --etcd prod\n"},
		{"x prod --etcd prod", maintain.ErrNoMember, "kubectl etcd member list --etcd prod\n"},
		{"x --archive /a --archive-name n", store.ErrNoBase, "kubectl etcd backups --archive /a --archive-name n\n"},
	} {
		s, _, errOut := testSession(nil)
		root, target, archive := newRootCommand(s), newTarget(s), archiveFlags{}
		x := &cobra.Command{Use: "x", RunE: func(_ *cobra.Command, args []string) error {
			return errors.Join(target.complete(args), test.err)
		}}
		target.addFlags(x.Flags())
		archive.addPlace(x.Flags())
		root.AddCommand(x)
		if code := s.execute(t.Context(), root, strings.Fields(test.line)); code != exitError || !strings.HasSuffix(errOut.String(), test.want) {
			t.Errorf("%s: code %d\n%swant %s", test.line, code, errOut, test.want)
		}
	}
}

// Health's remedies name commands in running text: the flags are told once.
func TestRemedyFlags(t *testing.T) {
	s, _, _ := testSession(nil)
	o := &healthOptions{target: newTarget(s)}
	report := health.Report{Results: []health.Result{{Level: health.Warning, Remedy: "kubectl etcd defrag"}}}
	if got := o.remedyFlags(&reach{}, report); got != nil {
		t.Errorf("without flags: %q", got)
	}
	s.wayToEtcd = []string{"--on-node"}
	if got := o.remedyFlags(&reach{}, report); len(got) != 1 || !strings.HasSuffix(got[0], ": --on-node") {
		t.Errorf("with flags: %q", got)
	}
	report.Results[0].Level = health.OK
	if got := o.remedyFlags(&reach{}, report); got != nil {
		t.Errorf("nothing is shown that names one: %q", got)
	}
}
