package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// resolveFrom is the source that --from names: by its own name (pod or host:port), or by
// that of the member or its node, as status shows them. The members are asked for their
// names only where the sources' don't do.
func (r *reach) resolveFrom(ctx context.Context, name string, timeout time.Duration) (string, error) {
	if name == "" || slices.ContainsFunc(r.sources, func(s etcd.Source) bool { return s.Name == name }) {
		return name, nil
	}
	overview := etcd.Observe(ctx, r.sources, timeout)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return matchFrom(overview.Members, name)
}

// matchFrom finds the one member with a way to it that name means.
func matchFrom(members []etcd.MemberView, name string) (string, error) {
	var matches, known []string
	for _, m := range members {
		if m.Source == "" {
			continue
		}
		if m.Name == name || m.Pod == name || m.Node == name {
			matches = append(matches, m.Source)
		}
		if m.Name != m.Source {
			known = append(known, fmt.Sprintf("%s (member %s)", m.Source, m.Name))
		} else {
			known = append(known, m.Source)
		}
	}
	switch len(matches) {
	case 0:
		return "", usagef("--from: no member %q: there are %s", name, strings.Join(known, ", "))
	case 1:
		return matches[0], nil
	}
	return "", usagef("--from: %q means %s: there are %s", name, strings.Join(matches, " and "), strings.Join(known, ", "))
}
