package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// AnyMembers asks all sources at once for the cluster's members and takes the first
// list that comes, with the source that gave it. None within timeout is an error that
// joins each one's. A learner gives none.
func AnyMembers(ctx context.Context, sources []Source, timeout time.Duration) (from string, members []Member, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type answer struct {
		source  string
		members []Member
		err     error
	}
	answers := make(chan answer, len(sources)) // room for all: nobody waits for who comes late
	for _, source := range sources {
		go func() {
			a := answer{source: source.Name, err: source.Err}
			if a.err == nil {
				a.members, a.err = source.Reader.Members(ctx)
			}
			answers <- a
		}()
	}
	var failures []error
	for range sources {
		a := <-answers
		switch {
		case from != "":
		case a.err != nil:
			failures = append(failures, fmt.Errorf("%s: %w", a.source, overdue(ctx, a.err)))
		default:
			from, members = a.source, a.members
			cancel() // the others; they are still waited for
		}
	}
	if from == "" {
		return "", nil, fmt.Errorf("list members: %w", errors.Join(failures...))
	}
	return from, members, nil
}
