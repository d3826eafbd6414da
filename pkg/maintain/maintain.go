// Package maintain keeps an etcd cluster's house: it defragments members, compacts the
// history and disarms alarms.
//
// Its one idea: what changes a cluster is planned first, by a pure function over what was
// seen, and then run step by step; before each step the members are looked at again, and the
// first thing that is not as it should be ends the run.
package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

var (
	// ErrUnready: the cluster is no longer in the state that a step needs.
	ErrUnready = errors.New("the cluster is not as it must be")
	// ErrFull: a database is still too near its quota for NOSPACE to be disarmed.
	ErrFull = errors.New("NOSPACE stays")
	// ErrNoClock: nothing in the key space tells when a revision was.
	ErrNoClock = errors.New("what revision it was then is not known")
	// errChanged: nothing is wrong with the cluster, but it is another.
	errChanged = fmt.Errorf("%w", ErrUnready)
)

// The alarms that etcd knows (etcd api/etcdserverpb AlarmType).
const (
	NoSpace = "NOSPACE"
	Corrupt = "CORRUPT"
)

const (
	// maxGap is how many entries a member may be behind and still count as in step. etcd refuses
	// writes at 5000 (server/v3 etcdserver, maxGapBetweenApplyAndCommitIndex); ours.
	maxGap = 1000
	// disarmBelow is the share of its quota below which every database must be before NOSPACE
	// is disarmed: etcd raises it again at once where it is not (as etcd-defrag has it).
	disarmBelow = 0.9
)

// Refusal is why something is not done.
type Refusal struct {
	Reason string `json:"reason"`
	// Instead is what mends it, or the flag that does it all the same.
	Instead string `json:"instead,omitempty"`
}

// Members are the ways to a cluster's members.
type Members struct {
	Sources []etcd.Source
	Clients []*etcd.Client // beside Sources; nil where there is none
}

// client is the one that leads to the member of view.
func (m Members) client(view etcd.MemberView) *etcd.Client {
	for i, source := range m.Sources {
		if source.Name == view.Source && i < len(m.Clients) {
			return m.Clients[i]
		}
	}
	return nil
}

// without leaves out the way of that name.
func (m Members) without(source string) Members {
	var left Members
	for i, s := range m.Sources {
		if s.Name == source {
			continue
		}
		var client *etcd.Client
		if i < len(m.Clients) {
			client = m.Clients[i]
		}
		left.Sources, left.Clients = append(left.Sources, s), append(left.Clients, client)
	}
	return left
}

// voter is a client of a voter that answers, and who that is; a follower where there is one.
func (m Members) voter(overview etcd.Overview, but etcd.ID) (client *etcd.Client, name string) {
	for _, view := range overview.Members {
		found := m.client(view)
		if found == nil || view.Status == nil || isLearner(view) || view.ID() == but || !view.Healthy {
			continue
		}
		if client, name = found, nameOf(view); !view.Leads() {
			break
		}
	}
	return client, name
}

// nameOf is what people know a member by.
func nameOf(view etcd.MemberView) string {
	if view.Pod != "" {
		return view.Pod
	}
	return view.Name
}

func isLearner(view etcd.MemberView) bool {
	return view.Member != nil && view.Member.Learner || view.Status != nil && view.Status.Learner
}

// inStep: it has what the others have, about, and its database has what its log has.
func inStep(view etcd.MemberView) bool {
	s := view.Status
	return s != nil && view.Lag != nil && *view.Lag < maxGap && s.RaftIndex-min(s.RaftApplied, s.RaftIndex) < maxGap
}

// leaderOf is the one member that calls itself the leader at the highest term.
func leaderOf(overview etcd.Overview) (leader etcd.MemberView, ok bool) {
	for _, view := range overview.Members {
		if !view.Leads() {
			continue
		}
		if ok && leader.Status.RaftTerm == view.Status.RaftTerm && leader.ID() != view.ID() {
			return etcd.MemberView{}, false
		}
		if !ok || view.Status.RaftTerm > leader.Status.RaftTerm {
			leader, ok = view, true
		}
	}
	return leader, ok
}

// find is the row of the member with that ID.
func find(overview etcd.Overview, id etcd.ID) (etcd.MemberView, bool) {
	at := slices.IndexFunc(overview.Members, func(v etcd.MemberView) bool { return v.ID() == id })
	if at < 0 {
		return etcd.MemberView{}, false
	}
	return overview.Members[at], true
}

// alarmsOf are all alarms of that type, of every member and of the cluster.
func alarmsOf(overview etcd.Overview, kind string) []etcd.Alarm {
	var alarms []etcd.Alarm
	for _, view := range overview.Members {
		alarm := etcd.Alarm{MemberID: view.ID(), Type: kind}
		if slices.Contains(view.Alarms, kind) && !slices.Contains(alarms, alarm) {
			alarms = append(alarms, alarm)
		}
	}
	for _, alarm := range overview.Alarms {
		if alarm.Type == kind {
			alarms = append(alarms, alarm)
		}
	}
	return alarms
}

// unwell is why a cluster must not lose a member now, not even for a while. NOSPACE is no such
// reason: what is done here is what it asks for.
func unwell(overview etcd.Overview) (refusals []Refusal) {
	refuse := func(instead, format string, args ...any) {
		refusals = append(refusals, Refusal{fmt.Sprintf(format, args...), instead})
	}
	if overview.Disagree {
		refuse("kubectl etcd status", "the members do not agree who is a member")
	}
	if len(memberIDs(overview)) == 0 {
		refuse("kubectl etcd status", "who is a member is not known")
	}
	if len(alarmsOf(overview, Corrupt)) > 0 {
		refuse("kubectl etcd health --check H20,H40 --deep", "alarm CORRUPT is raised: a member's data differs from the others'")
	}
	if has := overview.Verdict.HasQuorum; has == nil || !*has {
		refuse("kubectl etcd status", "there is no quorum, or none was seen")
	}
	for _, view := range overview.Members {
		switch name := nameOf(view); {
		case view.Member == nil: // a pod in no list: no part of the quorum
		case isLearner(view) && (view.Status == nil || !inStep(view)):
			refuse("wait until it is in step, or remove it", "learner %s is not in step with the leader%s", name, because(view))
		case isLearner(view):
		case !view.Healthy:
			refuse(seenBy(view), "%s is not healthy%s", name, because(view))
		case !inStep(view):
			refuse("wait until it has caught up: kubectl etcd status", "%s is %d entries behind or more", name, maxGap)
		}
	}
	if _, ok := leaderOf(overview); !ok { // which may be one of those
		refuse("kubectl etcd status", "of the members that answer none, or more than one, calls itself the leader")
	}
	return refusals
}

// seenBy is what shows more of a member that is not healthy; one that there is no way to must be
// named first.
func seenBy(view etcd.MemberView) string {
	if view.Source != "" || len(view.Member.ClientURLs) == 0 {
		return "kubectl etcd status"
	}
	return "name every member, it too: --endpoints …," + view.Member.ClientURLs[0]
}

func because(view etcd.MemberView) string {
	if view.Error == "" {
		return ""
	}
	return ": " + view.Error
}

// asError is the first of refusals as an error; nil: there is none.
func asError(refusals []Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnready, refusals[0].Reason)
}

// before tells whether version is older than 3.minor.patch; one that can't be read is.
func before(version string, minor, patch int) bool {
	core, _, _ := strings.Cut(version, "-")
	want := []int{3, minor, patch}
	parts := strings.Split(core, ".")
	for i, w := range want {
		if i >= len(parts) {
			return true
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < w {
			return true
		}
		if n > w {
			return false
		}
	}
	return false
}

// pause waits, and tells whether it was not interrupted.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
