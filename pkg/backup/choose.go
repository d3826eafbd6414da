package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// maxLag is how many raft entries behind the others a member may be and still be
// taken first. Snapshots of etcd's own start at 5000 (snapshot-catchup-entries).
const maxLag = 1000

// candidate is a source that answered.
type candidate struct {
	Source
	status etcd.Status
	// What was found when it was chosen, and is reported: its status is read anew later.
	withoutQuorum bool
	warnings      []string // why its snapshot may not be a good one
}

// choose puts the sources that can give a snapshot in order, and says why the rest
// can't. With options.From there is only that one.
func choose(ctx context.Context, sources []Source, options Options) (candidates []candidate, passed []error, err error) {
	if options.From != "" {
		if sources, err = only(sources, options.From); err != nil {
			return nil, nil, err
		}
	}
	for _, answer := range askAll(ctx, sources, options) {
		switch {
		case answer.err != nil:
			passed = append(passed, fmt.Errorf("%s: %w", answer.Name, answer.err))
		case answer.status.Learner:
			passed = append(passed, fmt.Errorf("%s: it is a learner, which gives no snapshot", answer.Name))
		default:
			candidates = append(candidates, answer.candidate)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if err := sameCluster(candidates); err != nil {
		return nil, nil, err
	}
	rank(candidates)
	highest := highestIndex(candidates)
	for i := range candidates {
		candidates[i].withoutQuorum = candidates[i].alone()
		candidates[i].warnings = candidates[i].warn(highest)
	}
	return candidates, passed, nil
}

func only(sources []Source, name string) ([]Source, error) {
	var names []string
	for _, source := range sources {
		if source.Name == name {
			return []Source{source}, nil
		}
		names = append(names, source.Name)
	}
	return nil, fmt.Errorf("no member %q: there are %s", name, strings.Join(names, ", "))
}

type answer struct {
	candidate
	err error
}

func askAll(ctx context.Context, sources []Source, options Options) []answer {
	answers := make([]answer, len(sources))
	var asked sync.WaitGroup
	for i, source := range sources {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, options.Timeout)
			defer cancel()
			status, err := source.Client.Status(ctx)
			answers[i] = answer{candidate: candidate{Source: source, status: status}, err: err}
		})
	}
	asked.Wait()
	return answers
}

// sameCluster refuses to choose between clusters.
func sameCluster(candidates []candidate) error {
	for _, c := range candidates {
		if first := candidates[0]; c.status.ClusterID != first.status.ClusterID {
			return errors.Join(
				fmt.Errorf("the members are of different clusters: %s of %s, %s of %s",
					first.Name, first.status.ClusterID, c.Name, c.status.ClusterID),
				errors.New("name the one to take"))
		}
	}
	return nil
}

// rank orders by how little a snapshot disturbs and how good it will be: sound
// members before those with a CORRUPT alarm, in touch with a leader before not, in
// sync before behind, followers before the leader (it has the most to do), then the
// smallest database, which is open for the shortest time, then the name.
func rank(candidates []candidate) {
	highest := highestIndex(candidates)
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(
			falseFirst(a.corrupt(), b.corrupt()),
			falseFirst(a.alone(), b.alone()),
			falseFirst(a.behind(highest), b.behind(highest)),
			falseFirst(a.leads(), b.leads()),
			cmp.Compare(a.status.DBSize, b.status.DBSize),
			strings.Compare(a.Name, b.Name),
		)
	})
}

func highestIndex(candidates []candidate) (highest uint64) {
	for _, c := range candidates {
		highest = max(highest, c.status.RaftIndex)
	}
	return highest
}

// warn says what a snapshot of this member may lack. It is taken all the same: without
// a better member it is the best there is.
func (c candidate) warn(highest uint64) (warnings []string) {
	switch {
	case c.corruptAs(c.status.MemberID):
		warnings = append(warnings, c.Name+" has the alarm CORRUPT: its data differs from the other members'")
	case c.corruptAs(0):
		warnings = append(warnings, "the cluster has the alarm CORRUPT: its members' data differ, and whether "+c.Name+"'s is right etcd can't tell")
	}
	if c.alone() {
		warnings = append(warnings, c.promise()...)
	}
	if c.behind(highest) {
		warnings = append(warnings, fmt.Sprintf("%s is %d raft entries behind: the latest writes are missing", c.Name, highest-c.status.RaftApplied))
	}
	return warnings
}

// alone: it is in touch with no quorum. A leader that lost it steps down within an
// election timeout (raft, CheckQuorum).
func (c candidate) alone() bool { return c.status.Leader == 0 }

// promise is what a snapshot of one member alone is and is not. A member applies only
// what a quorum has committed (raft, section 5.3), and streams what it applied: so
// nothing in it was made up, but it can't know what was committed without it.
func (c candidate) promise() []string {
	return []string{
		fmt.Sprintf("%s knows no leader: this is the state that it had applied by itself, up to revision %d", c.Name, c.status.Revision),
		"all of it was committed by a quorum once, though perhaps never acknowledged to the client that wrote it",
		"later writes that the other members acknowledged may be missing, and whether there are any this member can't tell: " +
			"before you restore it, see if another member, or its data directory, has a higher revision; if the others go on by themselves, they are right and this is old",
	}
}

func (c candidate) leads() bool { return c.status.Leader == c.status.MemberID }

func (c candidate) behind(highest uint64) bool { return c.status.RaftApplied+maxLag < highest }

// corrupt: by the alarm, etcd holds its data for wrong, or can't tell whose is.
func (c candidate) corrupt() bool { return c.corruptAs(c.status.MemberID) || c.corruptAs(0) }

// corruptAs tells whether there is a CORRUPT alarm of that member; 0: of the whole cluster.
func (c candidate) corruptAs(id etcd.ID) bool {
	return slices.Contains(c.status.Alarms(), etcd.Alarm{MemberID: id, Type: "CORRUPT"})
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
