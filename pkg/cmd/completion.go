package cmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/health"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// completionTime is how long a shell waits for words at most: longer, and nobody does.
const completionTime = 3 * time.Second

// completer gives the words that may stand where a shell asks, with what each is behind a tab.
type completer func(ctx context.Context, s *session, c *cobra.Command) []string

// flagWords are the flags that have words of their own, by their names.
func flagWords() map[string]completer {
	fixed := func(words ...string) completer {
		return func(context.Context, *session, *cobra.Command) []string { return words }
	}
	return map[string]completer{
		"etcd": etcdWords, "from": memberWords, "member": memberWords,
		"timeline": timelineWords, "to-revision": revisionWords,
		"color":   fixed("auto", "always", "never"),
		"fail-on": fixed("info", "warning", "critical", "never"),
		"output":  fixed("wide", "json", "yaml", "name", "jsonpath=", "go-template="),
	}
}

// addCompletions gives every command below c its words. A flag that has none keeps the shell's
// own, files.
func addCompletions(s *session, c *cobra.Command) {
	words := flagWords()
	visit := func(f *pflag.Flag) {
		var err error
		switch complete, known := words[f.Name]; {
		case f.Name == "check" || f.Name == "skip":
			err = c.RegisterFlagCompletionFunc(f.Name, checkWords)
		case known && (f.Name != "from" || c.Name() == "backup"): // elsewhere it is a moment
			err = c.RegisterFlagCompletionFunc(f.Name, s.completing(complete))
		}
		if err != nil {
			panic("cmd: internal error: " + err.Error())
		}
	}
	c.LocalNonPersistentFlags().VisitAll(visit)
	if !c.HasParent() {
		c.PersistentFlags().VisitAll(visit)
	}
	switch {
	case strings.Contains(c.Use, " [CLUSTER]"):
		c.ValidArgsFunction = s.completing(etcdWords)
	case strings.Contains(c.Use, "MEMBER"):
		c.ValidArgsFunction = s.completing(memberWords)
	case c.Args != nil && c.ValidArgsFunction == nil && !c.HasSubCommands():
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, child := range c.Commands() {
		addCompletions(s, child)
	}
}

// completing bounds a completer in time, and keeps it quiet: what it says would stand in the
// middle of somebody's command line.
func (s *session) completing(words completer) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completionTime)
		defer cancel()
		quiet := *s
		quiet.ErrOut, quiet.bridge = io.Discard, nil
		return words(ctx, &quiet, c), cobra.ShellCompDirectiveNoFileComp
	}
}

// targetOf is what a command's flags say about where etcd is. Nothing is created for a word:
// with a flag that starts a pod there is none.
func targetOf(s *session, c *cobra.Command) (t *target, ok bool) {
	made := newTarget(s)
	flags := pflag.NewFlagSet("target", pflag.ContinueOnError)
	made.addFlags(flags)
	ok = true
	c.Flags().Visit(func(f *pflag.Flag) {
		if _, about := f.Annotations[targetGroup]; about {
			value := strings.Trim(f.Value.String(), "[]") // of a list
			ok = ok && flags.Set(f.Name, value) == nil && !strings.HasPrefix(f.Name, "relay") && !strings.HasPrefix(f.Name, "helper")
		}
	})
	return &made, ok && made.complete(nil) == nil
}

// etcdWords are the etcd clusters that a kubeconfig leads to.
func etcdWords(ctx context.Context, s *session, c *cobra.Command) (words []string) {
	t, ok := targetOf(s, c)
	if !ok || len(t.urls) > 0 || t.onNode {
		return nil
	}
	t.name = ""
	k, err := t.kubernetes(ctx)
	if err != nil {
		return nil
	}
	for _, cluster := range k.clusters {
		words = append(words, fmt.Sprintf("%s\t%s, %s", cluster.Name, cluster.Distro, countText(len(cluster.Pods), "pod")))
	}
	return words
}

// memberWords are the members of the one cluster that the flags lead to.
func memberWords(ctx context.Context, s *session, c *cobra.Command) (words []string) {
	t, ok := targetOf(s, c)
	if !ok {
		return nil
	}
	r, err := t.oneOf(ctx, true)
	if err != nil {
		return nil
	}
	_, members, err := etcd.AnyMembers(ctx, r.sources, completionTime)
	if closing := r.Close(); err != nil || closing != nil {
		return nil
	}
	for _, m := range members {
		kind := "voter"
		if m.Learner {
			kind = "learner"
		}
		name := m.Name
		if name == "" {
			name, kind = m.ID.String(), kind+", never started"
		}
		words = append(words, fmt.Sprintf("%s\t%s at %s", name, kind, strings.Join(m.PeerURLs, ",")))
	}
	return words
}

// timelineWords are an archive's histories.
func timelineWords(ctx context.Context, s *session, c *cobra.Command) (words []string) {
	eachTimeline(ctx, s, c, func(_ *store.Archive, t store.Timeline) {
		words = append(words, fmt.Sprintf("%s\topened %s: %s", t.ID, t.Opened.UTC().Format(time.RFC3339), t.Reason))
	})
	return words
}

// revisionWords are where what can be restored begins and ends.
func revisionWords(ctx context.Context, s *session, c *cobra.Command) (words []string) {
	eachTimeline(ctx, s, c, func(a *store.Archive, t store.Timeline) {
		contents, err := a.Contents(ctx, t)
		if err != nil {
			return
		}
		for _, span := range contents.Spans() {
			words = append(words, fmt.Sprintf("%d\tthe first of %s", span.First, t.ID),
				fmt.Sprintf("%d\tthe last, of %s", span.Last, span.To.UTC().Format(time.RFC3339)))
		}
	})
	return words
}

func eachTimeline(ctx context.Context, s *session, c *cobra.Command, do func(*store.Archive, store.Timeline)) {
	value := func(name string) string {
		if f := c.Flags().Lookup(name); f != nil {
			return f.Value.String()
		}
		return ""
	}
	f := archiveFlags{location: value("archive"), archiveName: value("archive-name")}
	f.take(s.getenv)
	a, end, err := f.read(ctx, s, value("etcd"), store.Keys{})
	if err != nil {
		return
	}
	defer end() //nolint:errcheck // only read
	timelines, _ := a.Timelines(ctx)
	for _, t := range timelines {
		do(a, t)
	}
}

// checkWords completes the last of a list of check ids.
func checkWords(_ *cobra.Command, _ []string, typed string) (words []string, _ cobra.ShellCompDirective) {
	before := ""
	if comma := strings.LastIndexByte(typed, ','); comma >= 0 {
		before = typed[:comma+1]
	}
	for _, check := range health.Checks() {
		words = append(words, before+check.ID+"\t"+check.Title)
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
