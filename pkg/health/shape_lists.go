package health

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

func judgeOrphans(f *Facts, _ Limits, o *outcome) {
	switch {
	case f.Kubernetes == nil:
		o.unknown("", f.WithoutKubernetes)
		return
	case len(f.listed()) == 0:
		o.unknown("", noList)
		return
	}
	spare := f.Overview.Verdict.CanLose
	for _, m := range f.Members {
		switch {
		case m.View.Member == nil:
			judgeStray(m, o)
		case m.Pod != nil:
		case spare == nil || *spare == 0:
			o.critical("member %s (%s) has no pod, and no further member may fail", m.Name(), m.View.Member.ID)
			o.mend("kubectl etcd member remove %s, if its node is gone for good", m.View.Member.ID)
		default:
			o.warn("member %s (%s) has no pod", m.Name(), m.View.Member.ID)
			o.mend("kubectl etcd member remove %s, if its node is gone for good", m.View.Member.ID)
		}
	}
	o.ok("every member has its pod, and every pod its member")
}

// judgeStray is for a pod that is no member. One that did not answer may be one.
func judgeStray(m Member, o *outcome) {
	if why := m.silent(); why != "" {
		o.unknown(m.Name(), why)
		return
	}
	o.critical("pod %s runs member %s, which is in no list", m.Name(), m.View.Status.MemberID)
	o.mend("it was removed, or is of another cluster: stop it, empty its data directory and let it join anew (kubeadm reset, then kubeadm join)")
}

func judgeLists(f *Facts, _ Limits, o *outcome) {
	lists := map[string][]string{}
	for _, m := range f.answering(o) {
		if m.View.Status.Learner {
			continue // it refuses the question
		}
		if !m.List.Known() {
			o.unknown(m.Name(), m.List.Because)
			continue
		}
		key := describeList(m.List.Value)
		lists[key] = append(lists[key], m.Name())
	}
	if len(lists) == 0 {
		return
	}
	if len(lists) == 1 {
		for _, names := range lists {
			o.ok("%s list the same members", plural(len(names), "member"))
		}
		return
	}
	o.critical("the members do not list the same members")
	for _, list := range sortedKeys(lists) {
		o.shows("%s: %s", strings.Join(lists[list], ", "), list)
	}
}

// describeList is the same text for lists with the same members in the same roles.
func describeList(members []etcd.Member) string {
	texts := make([]string, len(members))
	for i, m := range members {
		texts[i] = fmt.Sprintf("%s (%s)", m.Name, m.ID)
		if m.Learner {
			texts[i] += " learner"
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

func judgeSplit(f *Facts, _ Limits, o *outcome) {
	clusters, leaders := map[string][]string{}, map[string][]string{}
	var term uint64
	answered := f.answering(o)
	for _, m := range answered {
		term = max(term, last(m).RaftTerm)
	}
	for _, m := range answered {
		status := last(m)
		clusters[status.ClusterID.String()] = append(clusters[status.ClusterID.String()], m.Name())
		if status.RaftTerm == term && status.Leader != 0 {
			leaders[status.Leader.String()] = append(leaders[status.Leader.String()], m.Name())
		}
	}
	if len(answered) == 0 {
		return
	}
	if len(clusters) > 1 {
		o.critical("the members belong to %d clusters", len(clusters))
		showEach(o, "cluster", clusters)
	}
	if len(leaders) > 1 {
		o.critical("%d members are called leader at term %d", len(leaders), term)
		showEach(o, "leader", leaders)
	}
	o.ok("one cluster, %s", sortedKeys(clusters)[0])
}

func showEach(o *outcome, what string, groups map[string][]string) {
	for _, key := range sortedKeys(groups) {
		o.shows("%s %s: %s", what, key, strings.Join(groups[key], ", "))
	}
}

// last is a member's newest answer.
func last(m Member) etcd.Status {
	if n := len(m.Statuses); n > 0 {
		return m.Statuses[n-1]
	}
	return *m.View.Status
}

func judgeNames(f *Facts, _ Limits, o *outcome) {
	listed := f.listed()
	if len(listed) == 0 {
		o.unknown("", noList)
		return
	}
	names := map[string]int{}
	for _, m := range listed {
		names[m.View.Member.Name]++
	}
	for _, name := range sortedKeys(names) {
		switch {
		case name == "": // H03's
		case names[name] > 1:
			o.warn("%d members are called %s", names[name], name)
		case name == "default" && len(listed) > 1:
			o.warn("a member is called default: it was started without --name")
		}
	}
	o.ok("each has a name of its own")
}
