package maintain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// CompactFacts are what a compaction is planned by.
type CompactFacts struct {
	Overview  etcd.Overview
	Head      int64 // the newest revision
	Compacted int64 // up to where it is compacted; 0: nowhere
	// Kubernetes: it is a key space of API servers.
	Kubernetes bool
	// Moment is what the revision was chosen by, where a time was asked for.
	Moment *Moment
}

// Moment is a revision that was the newest at a time, or one before it.
type Moment struct {
	Revision int64     `json:"revision"`
	At       time.Time `json:"at"`  // by the clock of who wrote By
	By       string    `json:"key"` // the key whose values tell the time
}

// CompactPlan is what would be compacted. With Refusals nothing is.
type CompactPlan struct {
	Revision  int64     `json:"revision"`
	Head      int64     `json:"head"`
	Compacted int64     `json:"compacted"`
	Physical  bool      `json:"physical,omitempty"`
	Moment    *Moment   `json:"moment,omitempty"`
	Idle      bool      `json:"idle,omitempty"` // that far it is compacted already
	Refusals  []Refusal `json:"refusals,omitempty"`
	Warnings  []string  `json:"warnings,omitempty"`
}

// PlanCompact says whether the history before revision may be forgotten.
func PlanCompact(facts CompactFacts, revision int64, physical bool) CompactPlan {
	p := CompactPlan{Revision: revision, Head: facts.Head, Compacted: facts.Compacted, Physical: physical, Moment: facts.Moment}
	refuse := func(instead, format string, args ...any) {
		p.Refusals = append(p.Refusals, Refusal{fmt.Sprintf(format, args...), instead})
	}
	if p.Idle = revision <= facts.Compacted; p.Idle {
		return p
	}
	switch {
	case revision > facts.Head:
		refuse("an earlier --revision, or --keep 5m", "revision %d is not there yet: the newest is %d", revision, facts.Head)
	case revision == facts.Head && facts.Kubernetes:
		refuse("--keep 5m", "%d is the newest revision: every watch and list of Kubernetes that is under way would have to begin anew", revision)
	}
	if has := facts.Overview.Verdict.HasQuorum; has == nil || !*has {
		refuse("kubectl etcd status", "there is no quorum, or none was seen")
	}
	if len(alarmsOf(facts.Overview, Corrupt)) > 0 {
		refuse("kubectl etcd health --check H20,H40 --deep", "alarm CORRUPT is raised: the history may be what tells which member is wrong")
	}
	if facts.Kubernetes {
		p.Warnings = append(p.Warnings, "the API servers compact by themselves, every 5 minutes unless --etcd-compaction-interval says otherwise; this is for NOSPACE, or where they don't")
		if facts.Moment == nil {
			p.Warnings = append(p.Warnings, "watches and lists that began before that revision end with 410 Gone, and begin anew")
		}
	}
	return p
}

// Compact runs a plan through any voter that answers. Physical, it returns when that one's
// database has done it; timeout is for one that is not.
func Compact(ctx context.Context, members Members, plan CompactPlan, timeout time.Duration) error {
	if len(plan.Refusals) > 0 {
		return asError(plan.Refusals)
	}
	overview := etcd.Observe(ctx, members.Sources, timeout)
	if err := ctx.Err(); err != nil {
		return err
	}
	client := members.anyVoter(overview)
	if client == nil {
		return fmt.Errorf("%w: no voter can be asked", ErrUnready)
	}
	if plan.Physical {
		timeout = max(timeout, 10*time.Minute) // it goes through all keys
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := client.Compact(ctx, plan.Revision, plan.Physical)
	if errors.Is(err, rpctypes.ErrCompacted) { // somebody else did that meanwhile, as API servers do
		return nil
	}
	return err
}

// Clock is a key that somebody writes the time into again and again, as Kubernetes does into a
// Lease.
type Clock struct {
	Key    string
	TimeOf func(value []byte) (at time.Time, ok bool)
}

// RevisionAt finds the newest revision that wrote a time into the clock that is not after at. So
// the revision is older than at, by no more than what is between two such writes, and as far as
// the clocks agree. Where all of before at is compacted already it is what that was compacted to;
// where that is not known, ErrNoClock.
func (c Clock) RevisionAt(ctx context.Context, client *etcd.Client, facts CompactFacts, at time.Time) (*Moment, error) {
	found := &Moment{By: c.Key}
	for low, high := max(facts.Compacted, 1), facts.Head; low <= high; {
		middle := low + (high-low)/2
		value, revision, err := client.ValueAt(ctx, c.Key, middle)
		if err != nil && !errors.Is(err, rpctypes.ErrCompacted) { // it goes on being compacted
			return nil, err
		}
		if written, ok := c.TimeOf(value); ok && written.After(at) {
			high = min(middle, revision) - 1
			continue
		} else if ok {
			found.Revision, found.At = revision, written
		}
		low = middle + 1
	}
	if found.Revision > 0 {
		return found, nil
	}
	if facts.Compacted > 0 {
		value, _, err := client.ValueAt(ctx, c.Key, facts.Compacted)
		if written, ok := c.TimeOf(value); err == nil && ok {
			return &Moment{Revision: facts.Compacted, At: written, By: c.Key}, nil
		}
	}
	return nil, fmt.Errorf("%w: %s has nothing from before %s", ErrNoClock, c.Key, at.UTC().Format(time.RFC3339))
}
