//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
)

// rbacLevel is one file of docs/rbac, and what its user can and can't do.
type rbacLevel struct {
	name   string
	works  func(t *testing.T) [][]string // commands
	beyond func(t *testing.T) []string   // a command of the next level
}

func backupTo(t *testing.T, flags ...string) []string {
	return append([]string{"backup", "-f", filepath.Join(t.TempDir(), "s.db")}, flags...)
}

// TestRBACLevels binds a service account by each file, word for word: what the level is for
// works, what it is not for names the missing right; and without any one of its verbs it
// does not work, which makes it the least.
func TestRBACLevels(t *testing.T) {
	for _, level := range []rbacLevel{
		{"read",
			func(*testing.T) [][]string { return [][]string{{"status"}} },
			func(t *testing.T) []string { return backupTo(t, certFlags()...) }},
		{"backup",
			func(t *testing.T) [][]string {
				return [][]string{backupTo(t, certFlags()...), append([]string{"status"}, certFlags()...)}
			},
			func(t *testing.T) []string { return backupTo(t, relayFlags(t)...) }},
		{"operate",
			func(t *testing.T) [][]string {
				return [][]string{{"status"}, backupTo(t, certFlags()...), backupTo(t, relayFlags(t)...), {"status", "--helper"}}
			}, nil},
	} {
		t.Run(level.name, func(t *testing.T) { level.test(t) })
	}
}

func (l rbacLevel) test(t *testing.T) {
	account := "kubectl-etcd-" + l.name
	file := "../../docs/rbac/" + l.name + ".yaml"
	kubectl(t, "apply", "-f", file)
	t.Cleanup(func() { kubectl(t, "delete", "-f", file) })
	config := kubeconfigOf(t, "kube-system", account)

	whole := roleOf(t, "role", account)
	untilAllowed(t, config, whole.Rules[0].Verbs[0], whole.Rules[0].Resources[0], true)
	for _, command := range l.works(t) {
		got := runWith(t, []string{"KUBECONFIG=" + config}, command...)
		got.wantExit(t, 0)
		if said := got.stdout + got.stderr; strings.Contains(said, "forbidden") || strings.Contains(said, "can-i") {
			t.Errorf("%v: something is missing: %s", command, said)
		}
	}
	if l.beyond != nil {
		got := runWith(t, []string{"KUBECONFIG=" + config}, l.beyond(t)...)
		got.wantExit(t, 1)
		wantNamed(t, config, got)
	}
	l.withoutEach(t, config, account, "role")
	l.withoutEach(t, config, account, "clusterrole")
	wantNoRelays(t)
}

// withoutEach takes each verb of a role away, one at a time.
func (l rbacLevel) withoutEach(t *testing.T, config, account, kind string) {
	t.Helper()
	whole := roleOf(t, kind, account)
	defer replace(t, kind, whole)
	for i, rule := range whole.Rules {
		for _, verb := range rule.Verbs {
			less := whole
			less.Rules = slices.Clone(whole.Rules)
			less.Rules[i].Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(v string) bool { return v == verb })
			if len(less.Rules[i].Verbs) == 0 {
				less.Rules = slices.Delete(less.Rules, i, i+1)
			}
			replace(t, kind, less)
			untilAllowed(t, config, verb, rule.Resources[0], false)
			l.wantFailure(t, config, verb+" "+rule.Resources[0])
			replace(t, kind, whole)
			untilAllowed(t, config, verb, rule.Resources[0], true)
		}
	}
}

// wantFailure: some command of the level fails, or says in a note what is missing.
func (l rbacLevel) wantFailure(t *testing.T, config, without string) {
	t.Helper()
	for _, command := range l.works(t) {
		got := runWith(t, []string{"KUBECONFIG=" + config}, command...)
		switch {
		case got.code == 1:
			wantNamed(t, config, got)
			return
		case strings.Contains(got.stdout+got.stderr, "could not be read") && strings.Contains(got.stdout+got.stderr, "forbidden"):
			return
		}
	}
	t.Errorf("without %s all commands of %s still work: it is not needed", without, l.name)
}

var canILine = regexp.MustCompile(`check it with: kubectl (auth can-i .*)`)

// wantNamed: the error names missing rights by lines that, run as that user, say no.
func wantNamed(t *testing.T, config string, got result) {
	t.Helper()
	lines := canILine.FindAllStringSubmatch(got.stderr, -1)
	if len(lines) == 0 {
		t.Errorf("%v names no missing right: %s", got.args, got.stderr)
	}
	for _, line := range lines {
		wantNo(t, config, strings.Fields(strings.TrimPrefix(line[1], "auth can-i "))...)
	}
}

type role struct {
	Kind       string              `json:"kind"`
	APIVersion string              `json:"apiVersion"`
	Metadata   map[string]any      `json:"metadata"`
	Rules      []rbacv1.PolicyRule `json:"rules"`
}

func roleOf(t *testing.T, kind, name string) (r role) {
	t.Helper()
	if err := json.Unmarshal([]byte(kubectl(t, "get", kind, "-n", "kube-system", name, "-o", "json")), &r); err != nil {
		t.Fatal(err)
	}
	r.Metadata = map[string]any{"name": name}
	if kind == "role" {
		r.Metadata["namespace"] = "kube-system"
	}
	return r
}

func replace(t *testing.T, kind string, r role) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("kubectl", "--kubeconfig", shared.Kubeconfig(), "replace", "-f", "-")
	c.Stdin = strings.NewReader(string(text))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("replace %s: %v: %s", kind, err, out)
	}
}

// untilAllowed waits until all API servers have heard of a change: several answers in a row,
// which a balancer spreads over them.
func untilAllowed(t *testing.T, config, verb, resource string, want bool) {
	t.Helper()
	kind, sub, _ := strings.Cut(resource, "/")
	args := []string{"--kubeconfig", config, "auth", "can-i", verb, kind, "-n", "kube-system"}
	if sub != "" {
		args = append(args, "--subresource="+sub)
	}
	eventually(t, 30*time.Second, fmt.Sprintf("%s %s is allowed: %t", verb, resource, want), func() error {
		for range 6 {
			out, _ := exec.Command("kubectl", args...).Output()
			if got := strings.TrimSpace(string(out)) == "yes"; got != want {
				return fmt.Errorf("can-i says %q", out)
			}
		}
		return nil
	})
}
