package health

import (
	"fmt"
	"slices"
	"strings"
)

// Document is docs/checks.md: the catalogue for people, an anchor a check.
func Document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	for _, category := range Categories() {
		fmt.Fprintf(&b, "\n## %s\n", category)
		for _, c := range Checks() {
			if c.Category == category {
				documentCheck(&b, c)
			}
		}
	}
	return b.String()
}

const documentHead = `# The checks of kubectl etcd health

This file is generated from the table that the checks run by (` + "`go test ./pkg/health -run TestDocument -update`" + `).
A limit is changed by ` + "`--set NAME=VALUE`" + `. Whose number it is stands beside it; *ours* means that
nobody upstream has one. What can't be measured is shown as such and never counts as passed.
`

func documentCheck(b *strings.Builder, c Check) {
	fmt.Fprintf(b, "\n### %s: %s\n\n<a id=\"%s\"></a>\n\n", c.ID, c.Title, strings.ToLower(c.ID))
	fmt.Fprintf(b, "- Measured: %s.\n- Source: %s.\n- What mends it: %s.\n", c.Measures, c.Source, c.Remedy)
	limits := LimitTable()
	for _, name := range c.Limits {
		i := slices.IndexFunc(limits, func(l Limit) bool { return l.Name == name })
		l := limits[i]
		fmt.Fprintf(b, "- `%s` = %s: %s (%s)\n", l.Name, l.Unit.Format(l.Value), l.Level, l.Source)
	}
}
