package tune

import (
	"fmt"
	"strings"
)

// ruling is what a rule says of a value.
type ruling struct {
	level     Level
	suggested string // empty: keep
	reason    string
}

// judge adds a flag's item: the worst that is said of any member's value, then whether the
// members differ, and whether a restart is pending.
func (a *adviser) judge(f flag) {
	current := a.read(f)
	r := a.worst(f, current).settle(f, current)
	r = r.with(missingOf(current))
	if !f.own {
		r = r.with(f.differ(current, LevelWarning))
	}
	r = r.with(pendingOf(current))
	a.add(Item{
		Flag: f.name, Current: current, Suggested: r.suggested, Level: r.level,
		Reason: r.reason, Source: f.source, Default: a.defaultText(f),
	})
}

func (a *adviser) worst(f flag, current []Current) ruling {
	var worst ruling
	for _, c := range current {
		if c.Missing != "" {
			continue
		}
		r := a.rule(f, c.Value)
		if worst.level == "" || r.level.rank() > worst.level.rank() {
			worst = r
		}
	}
	return worst
}

func (a *adviser) rule(f flag, value string) ruling {
	if f.normal != nil {
		normal, err := f.normal(value)
		if err != nil {
			return ruling{LevelCritical, "", fmt.Sprintf("etcd doesn't start with it: %s %s", f.name, err)}
		}
		value = normal
	}
	return f.judge(a, value)
}

// with is r and another ruling: the worse level, what either suggests, both reasons.
func (r ruling) with(other ruling) ruling {
	if other.level == "" {
		return r
	}
	if r.level == "" {
		return other
	}
	r.level = worse(r.level, other.level)
	if r.suggested == "" {
		r.suggested = other.suggested
	}
	r.reason += "; " + other.reason
	return r
}

// settle takes back a suggestion that all members have, or will after the pending restart.
func (r ruling) settle(f flag, current []Current) ruling {
	for _, c := range current {
		value := c.Value
		if c.Pending != nil {
			value = *c.Pending
		}
		if c.Missing != "" || f.tidy(value) != f.tidy(r.suggested) {
			return r
		}
	}
	r.suggested = ""
	if r.level == LevelSuggest {
		r.level = LevelKeep
	}
	return r
}

// missingOf is about members whose value is not known: no other's makes it well.
func missingOf(current []Current) ruling {
	var texts []string
	for _, c := range current {
		if c.Missing != "" {
			texts = append(texts, fmt.Sprintf("%s: %s", strings.Join(c.Members, ", "), c.Missing))
		}
	}
	if texts == nil {
		if len(current) > 0 {
			return ruling{}
		}
		texts = []string{"no member is known"}
	}
	return ruling{LevelUnknown, "", "not known of " + strings.Join(texts, "; ")}
}

// differ is about members that were set to different values. Different defaults of
// different versions are what an upgrade brings.
func (f flag) differ(current []Current, level Level) ruling {
	values, set := map[string]bool{}, false
	for _, c := range current {
		if c.Missing == "" {
			values[f.tidy(c.Value)] = true
			set = set || c.From != FromDefault
		}
	}
	if len(values) < 2 || !set {
		return ruling{}
	}
	return ruling{level, "", "the members differ: give all of them the same"}
}

func pendingOf(current []Current) ruling {
	var members []string
	for _, c := range current {
		if c.Pending != nil {
			members = append(members, c.Members...)
		}
	}
	if members == nil {
		return ruling{}
	}
	return ruling{LevelWarning, "", fmt.Sprintf("restart pending: the process of %s still has an older value than its specification", strings.Join(members, ", "))}
}
