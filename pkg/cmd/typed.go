package cmd

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A text of ours that names a command says it without the flags that lead to this etcd, or
// to this archive; typed adds them, so that it can be typed as it is read.
var (
	reachesEtcd  = regexp.MustCompile(`kubectl etcd (?:status|health|tune|tail|compact|defrag|alarm (?:list|disarm)|member (?:list|move-leader)|member (?:add|promote|remove|replace)(?: \w[\w-]*(?:\.[\w-]+)*)?)\b`)
	readsArchive = regexp.MustCompile(`kubectl etcd (?:backups|verify|prune|export)\b`)
	// hasItsWay is a command that says itself where its etcd or archive is. One before a comma
	// stays as it is: the comma would be typed with it.
	hasItsWay = regexp.MustCompile(`^,|^[^;,)]* (?:--endpoints|--on-node|--etcd|--all-etcd|-n|--archive|--help)\b`)
)

// typed is text with the flags that this command was given behind each command that needs them.
func (s *session) typed(text string) string {
	return withFlags(withFlags(text, reachesEtcd, s.wayToEtcd), readsArchive, s.wayToArchive)
}

// typedFor is typed, of one cluster where --all-etcd looks at several.
func (t *target) typedFor(r *reach, text string) string {
	return withFlags(text, reachesEtcd, t.wayTo(r))
}

// wayTo are the flags that lead to one cluster.
func (t *target) wayTo(r *reach) []string {
	if !t.all {
		return t.wayToEtcd
	}
	way := slices.DeleteFunc(slices.Clone(t.wayToEtcd), func(flag string) bool { return flag == "--all-etcd" })
	return append(way, "--etcd", strings.TrimPrefix(r.cluster.Namespace+"/"+r.cluster.Name, "/"))
}

// typeAll is typed in place.
func (s *session) typeAll(texts []string) {
	for i, text := range texts {
		texts[i] = s.typed(text)
	}
}

func withFlags(text string, commands *regexp.Regexp, flags []string) string {
	if len(flags) == 0 {
		return text
	}
	var out strings.Builder
	from := 0
	for _, at := range commands.FindAllStringIndex(text, -1) {
		out.WriteString(text[from:at[1]])
		from = at[1]
		if !hasItsWay.MatchString(text[from:]) {
			out.WriteString(" " + shellJoin(flags))
		}
	}
	return out.String() + text[from:]
}

// reaching are the flags that were given which say where etcd is, without a password.
func reaching(flags *pflag.FlagSet) (argv []string) {
	kubectls := map[string]bool{"kubeconfig": true, "context": true, "namespace": true, "cluster": true, "server": true}
	return given(flags, func(f *pflag.Flag) bool {
		_, about := f.Annotations[targetGroup]
		return about || kubectls[f.Name]
	})
}

// archived are the flags that were given which say where the archive is.
func archived(flags *pflag.FlagSet) (argv []string) {
	return given(flags, func(f *pflag.Flag) bool { return f.Name == "archive" || f.Name == "archive-name" })
}

// given are the flags of one kind that were given.
func given(flags *pflag.FlagSet, kind func(*pflag.Flag) bool) (argv []string) {
	flags.Visit(func(f *pflag.Flag) {
		if !kind(f) {
			return
		}
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		if f.Name == "etcd-user" {
			value, _, _ = strings.Cut(value, ":")
		}
		if f.Value.Type() == "bool" {
			argv = append(argv, strings.TrimSuffix("--"+f.Name+"="+value, "=true"))
			return
		}
		argv = append(argv, "--"+f.Name, value)
	})
	return argv
}
