package tune

import (
	"fmt"
	"slices"
	"strings"
)

// flag is how a setting is called and what it is when nobody sets it.
type flag struct {
	name     string
	older    string                                // before 3.6, and there too
	defaults []since                               // none: it has no default
	normal   func(text string) (string, error)     // nil: as it stands
	has      func(version string) bool             // nil: every version that its rule is for
	own      bool                                  // each member's own, as an address is: values aren't compared
	source   string                                // of the rule
	judge    func(a *adviser, value string) ruling // nil: nothing is wrong with any value
}

// read is the flag's value of every member, those with the same in one.
func (a *adviser) read(f flag) []Current {
	var all []Current
	for _, m := range a.facts.Members {
		c := m.current(f)
		same := slices.IndexFunc(all, func(other Current) bool { return other.sameAs(c) })
		if same < 0 {
			c.Members = []string{m.Name}
			all = append(all, c)
		} else {
			all[same].Members = append(all[same].Members, m.Name)
		}
	}
	return all
}

func (c Current) sameAs(other Current) bool {
	pending := c.Pending == nil && other.Pending == nil || c.Pending != nil && other.Pending != nil && *c.Pending == *other.Pending
	return pending && c.Value == other.Value && c.From == other.From && c.Missing == other.Missing
}

// current is what the process has where that is known, else what it is to be started with.
func (m Member) current(f flag) Current {
	specified, running := m.specified(f), m.runs(f)
	known := specified
	if running != nil {
		known = *running
	}
	if logged, ok := m.Logged.find(f); ok && (known.Missing != "" || f.tidy(known.Value) != f.tidy(logged.Value)) {
		running = &Current{Value: logged.Value, From: logged.From}
	}
	if running == nil {
		return specified
	}
	if specified.Missing == "" && f.tidy(specified.Value) != f.tidy(running.Value) {
		running.Pending = &specified.Value
	}
	return *running
}

// specified is what the next start takes.
func (m Member) specified(f flag) Current {
	setting, set := m.Settings.find(f)
	_, file := m.Settings["config-file"]
	switch {
	case set:
		return Current{Value: setting.Value, From: setting.From}
	case m.Unread != "":
		return Current{Missing: m.Unread}
	case file:
		return Current{Missing: "it is in the config file, which was not read"}
	}
	return m.byDefault(f)
}

// runs is what the process has, nil where that is not known. A command line tells of the
// flags that are not on it, too, but not of what the environment set in their place.
func (m Member) runs(f flag) *Current {
	if setting, ok := m.Running.find(f); ok {
		return &Current{Value: setting.Value, From: setting.From}
	}
	setting, set := m.Settings.find(f)
	if !set || setting.From != FromFlag && setting.From != FromScript || !m.Running.has(FromProcess) {
		return nil
	}
	c := m.byDefault(f)
	if c.Missing != "" {
		return nil
	}
	return &c
}

func (m Member) byDefault(f flag) Current {
	if len(f.defaults) == 0 {
		return Current{From: FromDefault}
	}
	minor, err := ParseMinor(m.Version)
	if err != nil {
		if len(f.defaults) == 1 {
			return Current{Value: f.defaults[0].value, From: FromDefault} // in every version
		}
		return Current{Missing: "the default differs by version, and the member's is not known"}
	}
	value, ok := at(f.defaults, minor)
	if !ok {
		return Current{Missing: fmt.Sprintf("the defaults of etcd %s are not known", minor)}
	}
	return Current{Value: value, From: FromDefault}
}

func (s Settings) find(f flag) (Setting, bool) {
	if setting, ok := s[f.name]; ok {
		return setting, true
	}
	setting, ok := s[f.older]
	return setting, ok && f.older != ""
}

func (s Settings) has(origin Origin) bool {
	for _, setting := range s {
		if setting.From == origin {
			return true
		}
	}
	return false
}

// defaultText is the default in the members' versions.
func (a *adviser) defaultText(f flag) string {
	var texts []string
	versions := map[string]string{}
	for _, m := range a.facts.Members {
		minor, err := ParseMinor(m.Version)
		value, ok := at(f.defaults, minor)
		if err != nil || !ok || slices.Contains(texts, value) {
			continue
		}
		texts, versions[value] = append(texts, value), minor.String()
	}
	if len(texts) < 2 {
		return strings.Join(texts, "")
	}
	for i, value := range texts {
		texts[i] = fmt.Sprintf("%s (%s)", value, versions[value])
	}
	return strings.Join(texts, ", ")
}

// tidy makes values comparable: "1" and "true" are one.
func (f flag) tidy(value string) string {
	if f.normal == nil {
		return value
	}
	if normal, err := f.normal(value); err == nil {
		return normal
	}
	return value
}
