package cmd

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// version is what a release is called. The Makefile sets it: -ldflags '-X …/pkg/cmd.version=…'.
// Other builds have none, and go by what Go recorded.
var version string

// build is what the binary knows about itself.
type build struct {
	Version    string `json:"version"`
	Commit     string `json:"commit,omitempty"`
	CommitTime string `json:"commitTime,omitempty"`
	Modified   bool   `json:"modified"` // built from a changed work tree
	Go         string `json:"go"`
	Platform   string `json:"platform"`
	EtcdClient string `json:"etcdClient"`
	EtcdServer string `json:"etcdServer"` // the one that restore builds data directories with
	Kubernetes string `json:"kubernetesClient"`
	RelayImage string `json:"relayImage,omitempty"` // NAME@sha256:DIGEST, of relay and agent
}

// readBuild takes everything but a release's version from what the Go linker records.
func readBuild() build {
	b := build{Version: cmp.Or(version, "(devel)"), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, RelayImage: relayImage}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(version, info.Main.Version, b.Version)
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Commit = setting.Value
		case "vcs.time":
			b.CommitTime = setting.Value
		case "vcs.modified":
			b.Modified = setting.Value == "true"
		}
	}
	for _, module := range info.Deps {
		switch module.Path {
		case "go.etcd.io/etcd/client/v3":
			b.EtcdClient = module.Version
		case "go.etcd.io/etcd/server/v3":
			b.EtcdServer = module.Version
		case "k8s.io/client-go":
			b.Kubernetes = module.Version
		}
	}
	return b
}

// newVersionCommand builds "kubectl etcd version".
func newVersionCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which version this is, and of which etcd",
		Example: "  kubectl etcd version\n\n  kubectl etcd version -o jsonpath={.version}",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return s.printVersion(readBuild()) },
	}
}

func (s *session) printVersion(b build) error {
	if s.format.Structured() {
		return s.format.Print(s.Out, render.Object{Kind: "Version", Name: binaryName, Value: b})
	}
	screen := s.screen()
	commit := b.Commit
	if b.Modified {
		commit += " (modified)"
	}
	for _, line := range [][2]string{
		{binaryName, b.Version}, {"commit", commit}, {"committed", b.CommitTime},
		{"go", fmt.Sprintf("%s %s", b.Go, b.Platform)},
		{"etcd client", b.EtcdClient}, {"etcd server", b.EtcdServer}, {"client-go", b.Kubernetes},
		{"relay image", b.RelayImage},
	} {
		if line[1] != "" {
			screen.Line(render.Cell{Text: fmt.Sprintf("%-14s", line[0])}, render.Cell{Text: line[1]})
		}
	}
	return screen.Flush()
}
