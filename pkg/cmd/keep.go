package cmd

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// keepFlags are the rules of retention.
type keepFlags struct {
	within  string
	maxSize string
	all     bool
	rules   store.Keep
	checked map[store.Mark]bool // bases that this run has read back
}

func (f *keepFlags) add(flags *pflag.FlagSet) {
	flags.IntVar(&f.rules.Last, "keep-last", 0, "keep the last N bases, and every moment since the first of them")
	flags.StringVar(&f.within, "keep-within", "", "keep every moment of this long, as 48h or 14d")
	flags.IntVar(&f.rules.Hourly, "keep-hourly", 0, "keep the last base of each of the last N hours that have one")
	flags.IntVar(&f.rules.Daily, "keep-daily", 0, "… of N days")
	flags.IntVar(&f.rules.Weekly, "keep-weekly", 0, "… of N weeks")
	flags.IntVar(&f.rules.Monthly, "keep-monthly", 0, "… of N months")
	flags.StringVar(&f.maxSize, "max-size", "", "let the oldest go until a timeline has no more than this, as 100GiB")
}

func (f *keepFlags) complete() (err error) {
	if f.within != "" {
		if f.rules.Within, err = parseDays(f.within); err != nil {
			return usagef("--keep-within %q is no duration like 48h or 14d", f.within)
		}
	}
	if f.maxSize != "" {
		if f.rules.MaxSize, err = parseBytes(f.maxSize); err != nil {
			return usagef("--max-size: %w", err)
		}
	}
	for _, n := range []int{f.rules.Last, f.rules.Hourly, f.rules.Daily, f.rules.Weekly, f.rules.Monthly, int(f.rules.Within)} {
		if n < 0 {
			return usagef("what is kept can't be negative")
		}
	}
	if f.all && !f.rules.IsZero() {
		return usagef("--keep-all and the other rules exclude each other")
	}
	return nil
}

// args are the flags again.
func (f *keepFlags) args() (list []string) {
	for _, one := range []struct {
		name  string
		value int
	}{
		{"--keep-last", f.rules.Last}, {"--keep-hourly", f.rules.Hourly}, {"--keep-daily", f.rules.Daily},
		{"--keep-weekly", f.rules.Weekly}, {"--keep-monthly", f.rules.Monthly},
	} {
		if one.value > 0 {
			list = append(list, one.name, strconv.Itoa(one.value))
		}
	}
	for _, one := range [][2]string{{"--keep-within", f.within}, {"--max-size", f.maxSize}} {
		if one[1] != "" {
			list = append(list, one[0], one[1])
		}
	}
	if f.all {
		list = append(list, "--keep-all")
	}
	return list
}

// parseDays reads what time.ParseDuration does, and "14d".
func parseDays(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		return time.Duration(n * 24 * float64(time.Hour)), err
	}
	return time.ParseDuration(text)
}

// apply prunes every timeline by the rules.
func (f *keepFlags) apply(ctx context.Context, a *store.Archive, now time.Time, done func(*store.Pruning)) error {
	timelines, err := a.Timelines(ctx)
	if err != nil {
		return err
	}
	for _, t := range timelines {
		c, err := a.Contents(ctx, t)
		if err != nil {
			return err
		}
		p := c.PlanPruning(f.rules, now)
		if p.Empty() {
			continue
		}
		if err := f.checkKept(ctx, a, p); err != nil {
			return err
		}
		if err := a.Prune(ctx, p); err != nil {
			return err
		}
		done(p)
	}
	return nil
}

// checkKept reads back, as it is stored, what has to take the place of what goes; once.
func (f *keepFlags) checkKept(ctx context.Context, a *store.Archive, p *store.Pruning) error {
	if len(p.Bases) == 0 && len(p.Segments) == 0 {
		return nil
	}
	if f.checked == nil {
		f.checked = map[store.Mark]bool{}
	}
	for _, b := range p.Kept {
		if f.checked[b.Mark] {
			continue
		}
		if err := a.CheckStored(ctx, p.Timeline, b); err != nil {
			return err
		}
		f.checked[b.Mark] = true
	}
	return nil
}
