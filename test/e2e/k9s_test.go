//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// TestK9sPlugins runs every command line of plugins.yaml as k9s does: its variables put in as
// text, by the shell that is named. less is a stand-in that passes on what it gets: a bare machine
// has none, and nobody to press q.
func TestK9sPlugins(t *testing.T) {
	content, err := os.ReadFile("../../plugins.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Plugins map[string]struct {
			Command string
			Args    []string
		}
	}
	if err := yaml.UnmarshalStrict(content, &struct{ Plugins map[string]any }{}); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "less"), []byte("#!/bin/sh\nexec cat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	context := strings.TrimSpace(kubectl(t, "config", "current-context"))
	fill := strings.NewReplacer("$KUBECONFIG", shared.Kubeconfig(), "$CONTEXT", context)
	certs := shared.Certs()
	env := []string{
		"PATH=" + dir + string(os.PathListSeparator) + os.Getenv("PATH"), "KUBECONFIG=/nonexistent",
		"ETCDCTL_CACERT=" + filepath.Join(certs, "ca.crt"), "ETCDCTL_CERT=" + filepath.Join(certs, "client.crt"), "ETCDCTL_KEY=" + filepath.Join(certs, "client.key"),
	}
	says := map[string]string{"etcd-status": "3 of 3 members healthy", "etcd-health": "NOT MEASURED", "etcd-tune": "heartbeat-interval", "etcd-tail": "leases"}
	if len(says) != len(file.Plugins) {
		t.Errorf("%d plugins, want %d", len(file.Plugins), len(says))
	}
	for name, plugin := range file.Plugins {
		t.Run(name, func(t *testing.T) {
			args := make([]string, len(plugin.Args))
			for i, arg := range plugin.Args {
				args[i] = fill.Replace(arg)
			}
			if name == "etcd-tail" { // it goes on until somebody has seen enough
				args[len(args)-1] = strings.Replace(args[len(args)-1], "kubectl etcd", "timeout -s INT 8 kubectl etcd", 1)
			}
			c := exec.Command(plugin.Command, args...)
			c.Env = append(cleanEnv(), env...)
			began := time.Now()
			got := finish(t, c, args)
			if got.code != 0 || !strings.Contains(got.stdout, says[name]) || strings.Contains(got.stdout, "error:") && name != "etcd-tail" {
				t.Errorf("exit %d after %s, want %q: %s%s", got.code, time.Since(began), says[name], got.stdout, got.stderr)
			}
			if !strings.Contains(got.stdout, "\x1b[") {
				t.Errorf("there is no colour in %s", got.stdout)
			}
		})
	}
}
