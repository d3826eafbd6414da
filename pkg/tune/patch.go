package tune

import (
	"fmt"
	"strconv"
	"strings"
)

// KubeadmPatch is the part of kubeadm's ClusterConfiguration that sets the changes; empty
// where there are none. In v1beta4 extraArgs are a list, and take a flag more than once.
func KubeadmPatch(changes []Change) string {
	if len(changes) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\netcd:\n  local:\n    extraArgs:\n")
	for _, c := range changes {
		fmt.Fprintf(&b, "    - name: %s\n      value: %s\n", c.Flag, strconv.Quote(c.Value))
	}
	return b.String()
}

// ManifestPatch shows what the changes are in a member's static pod, as a unified diff would;
// empty where it has them all. Each stands where the setting stood: a flag beside a variable
// of the same name keeps etcd from starting (etcd's pkg/flags, verifyEnv), and beside a
// config file it is passed over.
func ManifestPatch(m Member, changes []Change) string {
	where := "/etc/kubernetes/manifests/etcd.yaml"
	file, fromFile := m.Settings["config-file"]
	if fromFile {
		where = file.Value
	}
	var lines []string
	for _, c := range changes {
		now, set := m.Settings[c.Flag]
		if set && now.Value == c.Value {
			continue
		}
		if now.From == FromConfigMap {
			lines = append(lines, fmt.Sprintf("# %s is in a ConfigMap: change it there, from %s to %s", c.Flag, now.Value, c.Value))
			continue
		}
		from := now.From
		if fromFile {
			from = FromFile
		}
		if set {
			lines = append(lines, "-"+line(from, c.Flag, now.Value))
		}
		lines = append(lines, "+"+line(from, c.Flag, c.Value))
	}
	if lines == nil {
		return ""
	}
	host := m.Node
	if host == "" {
		host = m.Name
	}
	return fmt.Sprintf("--- %s (%s)\n+++ %s (%s)\n%s\n", where, host, where, host, strings.Join(lines, "\n"))
}

// line is a setting as it stands in its place: the pod's command, its environment, a config file.
func line(from Origin, flag, value string) string {
	switch from {
	case FromFile:
		return flag + ": " + yamlScalar(value)
	case FromEnvironment:
		variable := "ETCD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
		return "    - {name: " + variable + ", value: " + strconv.Quote(value) + "}"
	}
	return "    - --" + flag + "=" + value
}

// yamlScalar leaves numbers and truths as etcd's config file wants them, and quotes texts.
func yamlScalar(value string) string {
	if _, err := strconv.ParseInt(value, 10, 64); err == nil {
		return value
	}
	if value == "true" || value == "false" {
		return value
	}
	return strconv.Quote(value)
}
