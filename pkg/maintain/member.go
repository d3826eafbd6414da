package maintain

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// ErrNoMember: no member is called that, or several are.
var ErrNoMember = errors.New("no such member")

// Shape is what a cluster can bear, by its member list and by who was seen healthy.
type Shape struct {
	Voters   int `json:"voters"`
	Learners int `json:"learners"`
	Healthy  int `json:"healthy"` // of the voters
	Quorum   int `json:"quorum"`
	// CanLose is how many of the healthy voters may still fail; negative: so many are missing.
	CanLose int `json:"canLose"`
}

func newShape(voters, healthy, learners int) Shape {
	quorum := voters/2 + 1
	return Shape{Voters: voters, Learners: learners, Healthy: healthy, Quorum: quorum, CanLose: healthy - quorum}
}

// ShapeOf is that of the members that were seen.
func ShapeOf(overview etcd.Overview) Shape {
	voters, healthy, learners := 0, 0, 0
	for _, view := range overview.Members {
		switch {
		case view.Member == nil:
		case isLearner(view):
			learners++
		default:
			voters++
			if view.Healthy {
				healthy++
			}
		}
	}
	return newShape(voters, healthy, learners)
}

// String is "3 voters, quorum 2, 3 healthy: can lose 1".
func (s Shape) String() string {
	text := fmt.Sprintf("%s, quorum %d, %d healthy", counted(s.Voters, "voter"), s.Quorum, s.Healthy)
	switch {
	case s.CanLose < 0:
		text += fmt.Sprintf(": %d too few", -s.CanLose)
	default:
		text += fmt.Sprintf(": can lose %d", s.CanLose)
	}
	if s.Learners > 0 {
		text += ", and " + counted(s.Learners, "learner")
	}
	return text
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// FindMember is the member that text means: its ID, its name, its pod's or its node's.
func FindMember(overview etcd.Overview, text string) (etcd.MemberView, error) {
	ways := []func(etcd.MemberView) string{
		func(v etcd.MemberView) string { return v.Member.ID.String() },
		func(v etcd.MemberView) string { return v.Member.Name },
		func(v etcd.MemberView) string { return v.Pod },
		func(v etcd.MemberView) string { return v.Node },
	}
	for _, way := range ways {
		var found []etcd.MemberView
		for _, view := range overview.Members {
			if view.Member != nil && way(view) == text {
				found = append(found, view)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return etcd.MemberView{}, fmt.Errorf("%w: %d members are called %q; say which by its ID: %s", ErrNoMember, len(found), text, strings.Join(idsOf(found), ", "))
		}
	}
	there := "there are " + strings.Join(listed(overview), ", ")
	if len(listed(overview)) == 0 {
		there = "who is a member is not known"
	}
	return etcd.MemberView{}, fmt.Errorf("%w: nobody is called %q; %s", ErrNoMember, text, there)
}

func idsOf(views []etcd.MemberView) (ids []string) {
	for _, view := range views {
		ids = append(ids, view.Member.ID.String())
	}
	return ids
}

// listed are the members of the list by name, those that never started by ID.
func listed(overview etcd.Overview) (names []string) {
	for _, view := range overview.Members {
		if view.Member != nil {
			names = append(names, calledAs(view))
		}
	}
	slices.Sort(names)
	return names
}

// calledAs is what the member list calls a member.
func calledAs(view etcd.MemberView) string {
	if view.Member.Name != "" {
		return view.Member.Name
	}
	return view.Member.ID.String()
}

// fittest is the voter that the leadership is best moved to: healthy, in step, none of but;
// the one with least to catch up, then the quickest to answer.
func fittest(overview etcd.Overview, but ...etcd.ID) (etcd.MemberView, bool) {
	var fit []etcd.MemberView
	for _, view := range overview.Members {
		if fitToLead(view) && !slices.Contains(but, view.ID()) {
			fit = append(fit, view)
		}
	}
	if len(fit) == 0 {
		return etcd.MemberView{}, false
	}
	return slices.MinFunc(fit, quicker), true
}

func fitToLead(view etcd.MemberView) bool {
	return view.Member != nil && view.Healthy && !isLearner(view) && inStep(view)
}
