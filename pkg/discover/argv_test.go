package discover

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFindInvocation(t *testing.T) {
	for _, test := range []struct {
		name string
		argv []string
		want []string // nil: it is not started
	}{
		{"plain", []string{"etcd", "--name=a"}, []string{"--name=a"}},
		{"path", []string{"/usr/local/bin/etcd", "--name=a"}, []string{"--name=a"}},
		{"no arguments", []string{"etcd"}, []string{}},
		{"wrapped", []string{"ionice", "-c2", "-n", "0", "etcd", "-x"}, []string{"-x"}},
		{"init", []string{"/tini", "--", "etcd", "-x"}, []string{"-x"}},
		{"environment", []string{"env", "A=b", "etcd", "-x"}, []string{"-x"}},
		{"shell", []string{"/bin/sh", "-c", "exec etcd --name=a"}, []string{"--name=a"}},
		{"shell options", []string{"/bin/bash", "-euo", "pipefail", "-c", "etcd -x"}, []string{"-x"}},
		{"after a condition", []string{"sh", "-c", "if true; then etcd -x; fi"}, []string{"-x"}},
		{"assignment first", []string{"sh", "-c", "A=b etcd -x"}, []string{"-x"}},
		{"last one counts", []string{"sh", "-c", "etcd --version; exec etcd -x"}, []string{"-x"}},
		{"argument of another", []string{"cp", "/usr/local/bin/etcd", "/opt"}, nil},
		{"copied in a script", []string{"sh", "-c", "cp /usr/local/bin/etcd /opt/etcd"}, nil},
		{"another program", []string{"etcdctl", "member", "list"}, nil},
		{"a comment", []string{"sh", "-c", "# etcd -x"}, nil},
		{"shell without script", []string{"sh", "-c"}, nil},
		{"only a wrapper", []string{"nice", "-n", "5"}, nil},
		{"nothing", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := findInvocation(test.argv, "etcd")
			if ok != (test.want != nil) {
				t.Fatalf("started: %v", ok)
			}
			if diff := cmp.Diff(test.want, got.args); ok && diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseFlags(t *testing.T) {
	for _, test := range []struct {
		name, words string
		want        []option
	}{
		{"equals", "--a=b --c-d=e=f", []option{{"a", "b"}, {"c-d", "e=f"}}},
		{"separate", "--data-dir /data --name x", []option{{"data-dir", "/data"}, {"name", "x"}}},
		{"bare bool", "--client-cert-auth --name=x", []option{{"client-cert-auth", "true"}, {"name", "x"}}},
		{"bare at the end", "--pre-vote", []option{{"pre-vote", "true"}}},
		{"one dash", "-name=x -data-dir y", []option{{"name", "x"}, {"data-dir", "y"}}},
		{"empty value", "--name=", []option{{"name", ""}}},
		{"repeated", "--a=1 --a=2", []option{{"a", "1"}, {"a", "2"}}},
		{"terminated", "--a=1 -- --b=2", []option{{"a", "1"}}},
		{"no flags", "start now -", nil},
		{"bad names", "--=x ---y --{z}=1", nil},
		{"substitution kept", "--name=${NODE}_x --ip=$(IP)", []option{{"name", "${NODE}_x"}, {"ip", "$(IP)"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := parseFlags(strings.Fields(test.words))
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(option{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseFlags(f *testing.F) {
	f.Add("--a=b\x00--c\x00d\x00-e")
	f.Add("--\x00--a=b")
	f.Fuzz(func(t *testing.T, joined string) {
		words := strings.Split(joined, "\x00")
		flags := parseFlags(words)
		if len(flags) > len(words) {
			t.Fatalf("%d flags of %d words", len(flags), len(words))
		}
		var again []string
		for _, o := range flags {
			if !flagName.MatchString(o.name) {
				t.Fatalf("flag name %q", o.name)
			}
			again = append(again, "--"+o.name+"="+o.value)
		}
		if diff := cmp.Diff(flags, parseFlags(again), cmp.AllowUnexported(option{})); diff != "" {
			t.Fatalf("written and read again (-want +got):\n%s", diff)
		}
	})
}
