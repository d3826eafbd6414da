package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

const alarmExample = `  # Which alarms are raised?
  kubectl etcd alarm list

  # May NOSPACE go, and if not, what comes first?
  kubectl etcd alarm disarm --dry-run`

const alarmListExample = `  # Which alarms are raised, by whom, and what each means
  kubectl etcd alarm list

  # For scripts
  kubectl etcd alarm list -o jsonpath='{.items[*].alarms[*].type}'`

const alarmDisarmExample = `  # May NOSPACE go, and if not, what comes first?
  kubectl etcd alarm disarm --dry-run

  # Let it go; it refuses while a database is at 90% of its quota or more
  kubectl etcd alarm disarm --yes --cacert ca.crt --cert client.crt --key client.key`

const alarmDisarmLong = `Disarms NOSPACE, so that etcd takes writes again. etcd raises it when a database is at its quota,
and would again at once: so all must be below 90% of it first, by compact, then defrag.

CORRUPT stays: it says that a member's data differs from the others', and to disarm it mends
nothing. Where that member was rebuilt, --disarm-corrupt takes it as well.`

// newAlarmCommand builds "kubectl etcd alarm".
func newAlarmCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use: "alarm", Short: "List alarms, and disarm NOSPACE once there is room",
		Example: alarmExample, GroupID: groupMaintain, Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAlarmListCommand(s), newAlarmDisarmCommand(s))
	return c
}

// alarmListOptions are those of "kubectl etcd alarm list".
type alarmListOptions struct{ target }

// clusterAlarms are a cluster's alarms as -o json prints them, and as the view gets them.
type clusterAlarms struct {
	Cluster   string     `json:"cluster"`
	Namespace string     `json:"namespace,omitempty"`
	Alarms    []alarmRow `json:"alarms"`
	// Unknown is why there may be alarms that nobody told of.
	Unknown string `json:"unknown,omitempty"`
}

type alarmRow struct {
	etcd.Alarm
	Member string `json:"member"` // its name; "the whole cluster" for member 0
	Means  string `json:"means"`
}

func newAlarmListCommand(s *session) *cobra.Command {
	o := &alarmListOptions{newTarget(s)}
	c := &cobra.Command{
		Use: "list [CLUSTER]", Short: "List the alarms that are raised",
		Example: alarmListExample, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	o.addFlags(c.Flags())
	return c
}

func (o *alarmListOptions) run(ctx context.Context) error {
	list, unknown := render.List{Kind: "ClusterAlarmsList"}, false
	var all []clusterAlarms
	err := o.observeEach(ctx, func(r *reach, overview etcd.Overview) {
		alarms := listAlarms(overview)
		for i, alarm := range alarms.Alarms {
			alarms.Alarms[i].Means = o.typedFor(r, alarm.Means)
		}
		alarms.Cluster, alarms.Namespace = r.cluster.Name, r.cluster.Namespace
		unknown = unknown || alarms.Unknown != ""
		all = append(all, alarms)
		list.Items = append(list.Items, render.Object{Kind: "ClusterAlarms", Name: alarms.Cluster, Value: alarms})
	})
	if err != nil {
		return err
	}
	if err := o.print(all, list); err != nil {
		return err
	}
	if unknown {
		return withHint(errors.New("no member told which alarms are raised"), "see why: kubectl etcd status")
	}
	return nil
}

func (o *alarmListOptions) print(all []clusterAlarms, list render.List) error {
	if o.format.Structured() {
		return o.format.Print(o.Out, list)
	}
	screen := o.screen()
	for i, c := range all {
		if i > 0 {
			screen.Line()
		}
		if len(all) > 1 {
			screen.Line(render.Cell{Text: strings.TrimPrefix(c.Namespace+"/"+c.Cluster, "/"), Tone: render.Strong})
		}
		viewAlarms(screen, c)
	}
	return screen.Flush()
}

// listAlarms are all alarms of an overview. Any member that answers knows of all.
func listAlarms(overview etcd.Overview) clusterAlarms {
	c := clusterAlarms{Alarms: []alarmRow{}}
	for _, m := range overview.Members {
		for _, kind := range m.Alarms {
			c.Alarms = append(c.Alarms, newAlarmRow(etcd.Alarm{MemberID: m.ID(), Type: kind}, cmp.Or(m.Pod, m.Name)))
		}
	}
	for _, alarm := range overview.Alarms {
		name := "the whole cluster"
		if alarm.MemberID != 0 {
			name = alarm.MemberID.String() + ", which is in no list"
		}
		c.Alarms = append(c.Alarms, newAlarmRow(alarm, name))
	}
	slices.SortStableFunc(c.Alarms, func(a, b alarmRow) int { return cmp.Compare(a.Type, b.Type) }) // CORRUPT first
	if !answersAny(overview) {
		c.Unknown = "no member answers"
	}
	return c
}

func newAlarmRow(alarm etcd.Alarm, member string) alarmRow {
	row := alarmRow{Alarm: alarm, Member: member}
	switch alarm.Type {
	case maintain.NoSpace:
		row.Means = "etcd takes only reads and deletions until there is room and it is disarmed: kubectl etcd alarm disarm --dry-run"
	case maintain.Corrupt:
		row.Means = "a member's data differs from the others': find it (kubectl etcd health --check H40 --deep) and rebuild it"
	}
	return row
}

func viewAlarms(s *render.Screen, c clusterAlarms) {
	if len(c.Alarms) == 0 {
		if c.Unknown != "" {
			s.Say(2, s.State("not known", render.Dim), render.Cell{Text: ": " + c.Unknown, Tone: render.Strong})
			return
		}
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: ": no alarm is raised in etcd " + c.Cluster, Tone: render.Strong})
		return
	}
	table := render.Table{Columns: []render.Column{{Title: "ALARM"}, {Title: "MEMBER", Min: 12}, {Title: "MEANS", Below: true}}}
	for _, a := range c.Alarms {
		table.Rows = append(table.Rows, []render.Cell{s.State(a.Type, render.Bad), {Text: a.Member}, {Text: dash(a.Means)}})
	}
	s.Table(table)
}

// alarmDisarmOptions are those of "kubectl etcd alarm disarm".
type alarmDisarmOptions struct {
	target
	upkeepFlags
	plan maintain.DisarmOptions
}

// disarming is what would be disarmed, and what was.
type disarming struct {
	Cluster   string              `json:"cluster"`
	Namespace string              `json:"namespace,omitempty"`
	Plan      maintain.DisarmPlan `json:"plan"`
	Disarmed  []etcd.Alarm        `json:"disarmed,omitempty"`
}

func newAlarmDisarmCommand(s *session) *cobra.Command {
	o := &alarmDisarmOptions{target: newTarget(s)}
	c := &cobra.Command{
		Use: "disarm [CLUSTER]", Short: "Disarm NOSPACE, once there is room again",
		Long: alarmDisarmLong, Example: alarmDisarmExample, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return o.run(c.Context())
		},
	}
	c.Flags().BoolVar(&o.plan.Force, "force", false, "disarm NOSPACE though a database is at 90% of its quota or more")
	c.Flags().BoolVar(&o.plan.Corrupt, "disarm-corrupt", false, "disarm CORRUPT too: only where the member that differed was rebuilt")
	o.addConsent(c.Flags())
	o.addFlags(c.Flags())
	return c
}

func (o *alarmDisarmOptions) run(ctx context.Context) (err error) {
	r, err := o.forUpkeep(ctx, o.upkeepFlags, "disarm alarms of")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	overview, err := o.observe(ctx, r)
	if err != nil {
		return err
	}
	done := disarming{Cluster: r.cluster.Name, Namespace: r.cluster.Namespace, Plan: maintain.PlanDisarm(overview, o.plan)}
	o.typeAll(done.Plan.Warnings)
	o.typeAll(done.Plan.Before)
	refusals := done.Plan.Refusals
	if o.dryRun || len(done.Plan.Alarms) == 0 || len(refusals) > 0 {
		if err := o.print(done); err != nil || len(refusals) == 0 {
			return err
		}
		return refused("not disarmed", refusals)
	}
	screen := o.planScreen()
	viewDisarming(screen, done)
	if err := screen.Flush(); err != nil {
		return err
	}
	if err := o.agreed(ctx, fmt.Sprintf("disarm %s of %s?", alarmTypes(done.Plan.Alarms), o.place(r)), o.yes); err != nil {
		return err
	}
	done.Disarmed, err = maintain.Disarm(ctx, r.members(), done.Plan, o.timeout)
	return errors.Join(o.print(done), err)
}

func alarmTypes(alarms []etcd.Alarm) string {
	var types []string
	for _, alarm := range alarms {
		types = append(types, alarm.Type)
	}
	slices.Sort(types)
	return strings.Join(slices.Compact(types), ", ")
}

func (o *alarmDisarmOptions) print(done disarming) error {
	if o.format.Structured() {
		return o.format.Print(o.Out, render.Object{Kind: "AlarmDisarming", Name: done.Cluster, Value: done})
	}
	screen := o.screen()
	viewDisarming(screen, done)
	o.nothingDone(screen, len(done.Plan.Alarms) == 0, done.Plan.Refusals)
	return screen.Flush()
}

func viewDisarming(s *render.Screen, done disarming) {
	p := done.Plan
	switch {
	case len(done.Disarmed) > 0:
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: ": disarmed " + alarmTypes(done.Disarmed), Tone: render.Strong})
		return
	case len(p.Alarms) > 0:
		s.Line(render.Cell{Text: fmt.Sprintf("plan: disarm %s of etcd %s", alarmTypes(p.Alarms), done.Cluster), Tone: render.Strong})
		for _, alarm := range p.Alarms {
			s.Item(fmt.Sprintf("%s, raised by member %s", alarm.Type, alarm.MemberID), render.Plain)
		}
	case len(p.Refusals) == 0:
		s.Say(2, s.State("ok", render.Good), render.Cell{Text: ": no alarm is to be disarmed in etcd " + done.Cluster, Tone: render.Strong})
	}
	viewRefusals(s, p.Refusals, p.Warnings)
	for i, command := range p.Before {
		if i == 0 {
			s.Line(render.Cell{Text: "what comes first, in this order:", Tone: render.Strong})
		}
		s.Line(render.Cell{Text: "  " + command})
	}
}
