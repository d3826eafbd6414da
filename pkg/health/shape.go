package health

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const kubeClusters = "kubernetes.io, Operating etcd clusters for Kubernetes"

// shapeChecks are those of who is a member, and where.
func shapeChecks() []Check {
	return []Check{
		{
			ID: "H01", Title: "number of voters", Category: Shape, judge: judgeVoters,
			Measures: "voting members in the member list",
			Source:   "etcd FAQ (odd numbers, at most 7); " + kubeClusters + " (five in production)",
			Remedy:   "add or remove a member, as a learner first, so that there are 3 or 5",
		},
		{
			ID: "H02", Title: "quorum margin", Category: Shape, judge: judgeMargin,
			Measures: "healthy voters (a linearizable read through each) less the quorum",
			Source:   "etcdctl endpoint health; etcd mixin etcdInsufficientMembers",
			Remedy:   "mend the members that are not healthy first: kubectl etcd status",
		},
		{
			ID: "H03", Title: "members that never started", Category: Shape, judge: judgeUnstarted,
			Measures: "members without a name in the list",
			Source:   "etcd runtime reconfiguration; OpenShift's HasStarted",
			Remedy:   "start it, or remove it: kubectl etcd member remove ID",
		},
		{
			ID: "H04", Title: "learners", Category: Shape, judge: judgeLearners, Limits: []string{"learner-age", "learner-ready"},
			Measures: "learners, whether they answer, how long they run, and their match index against the leader's",
			Source:   "etcd learner design (readyPercentThreshold 0.9); kubeadm #3287; the age is ours",
			Remedy:   "kubectl etcd member promote ID",
		},
		{
			ID: "H05", Title: "failure domains", Category: Shape, judge: judgeDomains,
			Measures: "nodes and zones of the voters' pods",
			Source:   "etcd clustering guide; Kubernetes' HA topology",
			Remedy:   "move a member to a node (a zone) of its own",
		},
		{
			ID: "H06", Title: "members and pods", Category: Shape, judge: judgeOrphans,
			Measures: "members without a pod, and pods whose member is in no list",
			Source:   "Cluster API's compareMachinesAndMembers",
			Remedy:   "remove what a deleted node left: kubectl etcd member remove ID",
		},
		{
			ID: "H07", Title: "member lists agree", Category: Shape, judge: judgeLists,
			Measures: "the serializable member list of each member",
			Source:   "etcd-diagnosis, membership; etcd blog on zombie members (3.5.26)",
			Remedy:   "upgrade to 3.5.26 or later before anything else, then restart the member that differs",
		},
		{
			ID: "H08", Title: "one cluster, one leader", Category: Shape, judge: judgeSplit,
			Measures: "cluster id of each answer, and the leaders named at one term",
			Source:   "etcd-diagnosis; Gardener's MultipleClusterIDsDetected",
			Remedy:   "stop the member that is of another cluster before it is written to",
		},
		{
			ID: "H09", Title: "member names", Category: Shape, judge: judgeNames,
			Measures: "names in the member list",
			Source:   "server/v3 embed, Validate; etcd #13757",
			Remedy:   "give each member a --name of its own",
		},
	}
}

func shapeLimits() []Limit {
	return []Limit{
		{"learner-age", 600, Duration, "H04", Warning, "ours"},
		{"learner-ready", 0.9, Share, "H04", Warning, "server/v3 etcdserver readyPercentThreshold"},
	}
}

// listed are the rows that are in the member list.
func (f *Facts) listed() []Member {
	return slices.DeleteFunc(slices.Clone(f.Members), func(m Member) bool { return m.View.Member == nil })
}

// voters are those of them that vote.
func (f *Facts) voters() []Member {
	return slices.DeleteFunc(f.listed(), func(m Member) bool { return m.View.Member.Learner })
}

// answering are the members that answered; the others are noted as not measured.
func (f *Facts) answering(o *outcome) []Member {
	var answered []Member
	for _, m := range f.Members {
		if why := m.silent(); why != "" {
			o.unknown(m.Name(), why)
			continue
		}
		answered = append(answered, m)
	}
	return answered
}

// leader is the member that calls itself one; nil: nobody that answered does.
func (f *Facts) leader() *Member {
	for i := range f.Members {
		if f.Members[i].View.Leads() {
			return &f.Members[i]
		}
	}
	return nil
}

const noList = "no member list could be read"

func judgeVoters(f *Facts, _ Limits, o *outcome) {
	n := len(f.voters())
	switch {
	case n == 0:
		o.unknown("", noList)
	case n == 1:
		o.info("1 voter: no failure can be borne")
	case n == 2:
		o.critical("2 voters: worse than 1, since either one's failure stops etcd")
	case n%2 == 0:
		o.warn("%d voters: an even number bears no more failures than %d", n, n-1)
	case n > 7:
		o.warn("%d voters: more than 7 slow every write", n)
	case n > 5:
		o.info("%d voters: each write waits for %d of them", n, n/2+1)
	default:
		o.ok("%d voters", n)
	}
}

func judgeMargin(f *Facts, _ Limits, o *outcome) {
	v := f.Overview.Verdict
	if v.Voters == 0 || v.HasQuorum == nil {
		o.unknown("", "no linearizable read came back, nor failed for good")
		return
	}
	o.shows("%d of %d voters healthy, quorum is %d", v.Healthy, v.Voters, v.Quorum)
	for _, m := range f.voters() {
		if !m.View.Healthy {
			o.shows("%s: %s", m.Name(), m.View.Error)
		}
	}
	switch margin := v.Healthy - v.Quorum; {
	case !*v.HasQuorum:
		o.critical("quorum is lost: writes are refused")
		o.mend("start one more member if you can; else out of the one that is most advanced: kubectl etcd help recovery (restore --from-data-dir)")
	case margin < 0:
		o.warn("there is quorum, but only %d voters could be seen healthy", v.Healthy)
	case margin == 0 && v.Voters > 1:
		o.warn("no further voter may fail")
	case margin == 0:
		o.ok("the only voter is healthy")
	default:
		o.ok("%d more may fail", margin)
	}
}

func judgeUnstarted(f *Facts, _ Limits, o *outcome) {
	listed := f.listed()
	if len(listed) == 0 {
		o.unknown("", noList)
		return
	}
	for _, m := range listed {
		switch {
		case m.View.Member.Name != "":
		case !m.View.Member.Learner:
			o.critical("voter %s never started: it counts for the quorum and does nothing for it", m.View.Member.ID)
		default:
			o.warn("learner %s never started", m.View.Member.ID)
		}
	}
	o.ok("all %d have started", len(listed))
}

func judgeLearners(f *Facts, limits Limits, o *outcome) {
	listed := f.listed()
	if len(listed) == 0 {
		o.unknown("", noList)
		return
	}
	for _, m := range listed {
		if m.View.Member.Learner && m.View.Member.Name != "" {
			judgeLearner(f, m, limits, o)
		}
	}
	o.ok("no learner waits")
}

func judgeLearner(f *Facts, m Member, limits Limits, o *outcome) {
	ready, share := f.caughtUp(m, limits.at("learner-ready"))
	where := "how far it is behind the leader is not known"
	if ready.Known() {
		where = fmt.Sprintf("it has %.0f%% of the leader's log", share*100)
	}
	if why := m.silent(); why != "" && m.View.Source != "" {
		o.warn("%s is a learner: it does not answer (%s), %s", m.Name(), why, where)
		o.mend("start it, or remove it: kubectl etcd member remove %s; promoted while it is down, it would weaken the quorum", m.View.Member.ID)
		return
	}
	age := "how long it runs is not known"
	running := f.running(m)
	if running.Known() {
		age = "it runs for " + running.Value.Round(time.Second).String()
	}
	text := fmt.Sprintf("%s is a learner: %s, %s", m.Name(), age, where)
	if !running.Known() || running.Value < limits.seconds("learner-age") {
		o.info("%s", text)
		return
	}
	o.warn("%s", text)
	if ready.Known() && !ready.Value {
		o.mend("it can't be promoted yet: see why it does not catch up (kubectl logs of its pod, and H18)")
		return
	}
	o.mend("kubectl etcd member promote %s", m.View.Member.ID)
}

// caughtUp tells whether the leader would promote m (etcdserver isLearnerReady).
func (f *Facts) caughtUp(m Member, ready float64) (is Fact[bool], share float64) {
	leader := f.leader()
	if leader == nil || !leader.Vars.Known() {
		return Unknown[bool]("the leader's view is not known"), 0
	}
	progress := leader.Vars.Value.Raft.Progress
	own, ok := progress[leader.View.Status.MemberID]
	its, has := progress[m.View.Member.ID]
	if !ok || !has || own.Match == 0 {
		return Unknown[bool]("the leader says nothing of it"), 0
	}
	share = float64(its.Match) / float64(own.Match)
	return Known(share >= ready), share
}

func judgeDomains(f *Facts, _ Limits, o *outcome) {
	nodes, zones := map[string][]string{}, map[string][]string{}
	voters, placed, zoned := f.voters(), 0, 0
	for _, m := range voters {
		node := m.View.Node
		if m.Pod != nil {
			node = m.Pod.Node
		}
		if node == "" {
			o.unknown(m.Name(), "its node is not known")
			continue
		}
		placed++
		nodes[node] = append(nodes[node], m.Name())
		if m.Pod != nil && m.Pod.Zone != "" {
			zoned++
			zones[m.Pod.Zone] = append(zones[m.Pod.Zone], m.Name())
		}
	}
	if placed == 0 {
		if len(voters) == 0 {
			o.unknown("", noList)
		}
		return
	}
	judgeShared(o, nodes)
	if zoned == len(voters) && len(voters) > 1 {
		judgeZones(o, zones, len(voters)/2+1)
	} else if len(voters) > 1 {
		o.unknown("zones", "the nodes have no label topology.kubernetes.io/zone, or could not be read")
	}
	o.ok("%d voters on %d nodes", placed, len(nodes))
}

func judgeShared(o *outcome, nodes map[string][]string) {
	for _, node := range sortedKeys(nodes) {
		if members := nodes[node]; len(members) > 1 {
			o.critical("%s share node %s: it takes them all with it", strings.Join(members, " and "), node)
		}
	}
}

func judgeZones(o *outcome, zones map[string][]string, quorum int) {
	for _, zone := range sortedKeys(zones) {
		o.shows("zone %s: %s", zone, strings.Join(zones[zone], ", "))
		if len(zones) > 1 && len(zones[zone]) >= quorum {
			o.warn("zone %s holds %d voters, enough for its failure to stop etcd", zone, len(zones[zone]))
		}
	}
	if len(zones) == 1 {
		o.info("all voters are in one zone, %s", sortedKeys(zones)[0])
	}
}
