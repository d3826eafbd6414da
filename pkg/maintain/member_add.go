package maintain

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// add plans that a member comes.
func (p *memberPlanner) add(member NewMember) {
	if there := p.waiting(member); there != nil {
		p.plan.There = there
		return
	}
	p.collides(member)
	p.spareForAdd()
	p.warnOfURLs(member.PeerURLs)
	if member.Voter {
		p.after(1, 0, 0) // it counts before it runs
		if left := p.plan.After; left.CanLose < 0 {
			p.refuse("add it as a learner, and promote it when it is in step: without --voter", "until %s runs there would be no quorum: %s", member.Name, left)
		}
		p.warn("%s counts for the quorum at once, also while it does not run: a learner does not", member.Name)
		p.warnOfNumber()
	} else {
		p.after(0, 0, 1)
		if voters := p.plan.After.Voters + 1; voters%2 == 0 {
			p.warn("once it is promoted there are %d voters, which bear no more failures than %d", voters, voters-1)
		}
	}
	p.plan.Steps = append(p.plan.Steps, MemberStep{Action: ActionAdd, Member: member.Name, PeerURLs: member.PeerURLs, Learner: !member.Voter})
}

// waiting is a member of the list that was never started, at just these peer URLs; nil: none is.
func (p *memberPlanner) waiting(member NewMember) *etcd.Member {
	want := sorted(member.PeerURLs)
	for _, view := range p.list {
		if view.Member.Name == "" && view.Member.Learner == !member.Voter && slices.Equal(sorted(view.Member.PeerURLs), want) {
			there := *view.Member
			there.Name = member.Name // as it is going to call itself
			return &there
		}
	}
	return nil
}

func sorted(texts []string) []string { return slices.Sorted(slices.Values(texts)) }

// collides refuses what another member is called, or where one is.
func (p *memberPlanner) collides(member NewMember) {
	for _, view := range p.list {
		if view.Member.Name == member.Name {
			p.refuse("another name, or kubectl etcd member replace "+member.Name+" where that one is lost", "there is a member called %s already", member.Name)
		}
		for _, peer := range member.PeerURLs {
			if slices.Contains(view.Member.PeerURLs, peer) {
				p.refuse("kubectl etcd member remove "+calledAs(view)+", where that one is lost", "%s is the peer URL of %s", peer, calledAs(view))
			}
		}
		if view.Member.Learner && !member.Voter {
			p.refuse("promote it (kubectl etcd member promote "+calledAs(view)+"), or remove it", "%s is a learner: etcd has one at a time (its --max-learners is 1)", calledAs(view))
		}
	}
}

// warnOfURLs tells of what etcd takes, and is hardly meant.
func (p *memberPlanner) warnOfURLs(peers []string) {
	for _, text := range peers {
		u, err := url.Parse(text)
		if err != nil {
			continue
		}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
			p.warn("the other members can't reach %s from their machines", text)
		}
		same := func(v etcd.MemberView) bool {
			return slices.ContainsFunc(v.Member.PeerURLs, func(other string) bool { return strings.HasPrefix(other, u.Scheme+"://") })
		}
		if len(p.list) > 0 && !slices.ContainsFunc(p.list, same) {
			p.warn("%s is %s, and the other members' peer URLs are not", text, u.Scheme)
		}
	}
}

// spareForAdd refuses what etcd would: a new member is taken for unavailable, and the voters
// that are left have to be a quorum then, learner or not. Older servers want every voter connected
// (server/v3 etcdserver, mayAddMember: isConnectedFullySince until 3.5.29, 3.6.10).
func (p *memberPlanner) spareForAdd() {
	after := p.plan.After
	if grown := newShape(after.Voters+1, after.Healthy, 0); after.Voters > 1 && grown.CanLose < 0 {
		p.refuse("bring the others back first, or remove the one that is lost: kubectl etcd member remove NAME",
			"etcd takes no new member while only %d of %d voters are healthy", after.Healthy, after.Voters)
		return
	}
	if after.Healthy == after.Voters {
		return
	}
	for _, view := range p.list {
		if view.Status != nil && wantsAllConnected(view.Status.Version) {
			p.refuse("remove the one that is lost first: kubectl etcd member remove NAME; or upgrade to 3.5.30, 3.6.11 or 3.7",
				"%s runs etcd %s, which takes no new member while any voter is down", calledAs(view), view.Status.Version)
			return
		}
	}
}

// wantsAllConnected: from 3.5.30, 3.6.11 and 3.7.0 on a quorum is enough (etcd-io/etcd#16798).
func wantsAllConnected(version string) bool {
	switch {
	case before(version, 6, 0):
		return before(version, 5, 30)
	case before(version, 7, 0):
		return before(version, 6, 11)
	}
	return false
}

// warnOfNumber tells of a number of voters that does no good.
func (p *memberPlanner) warnOfNumber() {
	switch voters := p.plan.After.Voters; {
	case voters == p.plan.Before.Voters:
	case voters == 1:
		p.warn("a single voter bears no failure")
	case voters%2 == 0:
		p.warn("%d voters bear no more failures than %d, and each write waits for one more", voters, voters-1)
	case voters > most:
		p.warn("with more than %d voters writes get slower, and nothing is safer for it", most)
	}
}

// InitialCluster is what a member has to be started with to find the others: all of the list,
// itself by its name, those that never started by their ID.
func InitialCluster(list []etcd.Member, self etcd.ID, name string) string {
	var pairs []string
	for _, member := range list {
		called := member.Name
		switch {
		case member.ID == self:
			called = name
		case called == "":
			called = member.ID.String()
		}
		for _, peer := range member.PeerURLs {
			pairs = append(pairs, called+"="+peer)
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}
