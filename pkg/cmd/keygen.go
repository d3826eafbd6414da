package cmd

import (
	"fmt"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/durable"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

const keygenExample = `  # A key pair for archives: the secret half into a file, the public half on the screen
  kubectl etcd keygen -f archive-key.txt`

const keygenLong = `Makes an age identity. Whoever has its public key can add to an archive and read nothing of
it; only the file opens what was encrypted to it. Keep it away from the cluster and from the
archive, and make a second one: without any of them the archive is lost.

The file is age's own (age-keygen makes the same): age -d -i FILE opens every object.`

// newKeygenCommand builds "kubectl etcd keygen".
func newKeygenCommand(s *session) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: "keygen", Short: "Make a key for archives", Long: keygenLong, Example: keygenExample,
		GroupID: groupBackup, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if path == "" {
				return usagef("-f FILE is missing: where shall the secret key go?")
			}
			return s.keygen(path, time.Now())
		},
	}
	c.Flags().StringVarP(&path, "file", "f", "", "the file for the secret key; it must not exist")
	return c
}

func (s *session) keygen(path string, now time.Time) (err error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	file, err := durable.Create(path, false)
	if err != nil {
		return err
	}
	defer file.Discard()
	recipient := identity.Recipient().String()
	text := fmt.Sprintf("# created: %s by %s keygen\n# public key: %s\n%s\n", now.UTC().Format(time.RFC3339), commandName, recipient, identity)
	if _, err := file.Write([]byte(text)); err != nil {
		return err
	}
	if err := file.Commit(); err != nil {
		return err
	}
	made := struct {
		Path      string `json:"path"`
		Recipient string `json:"recipient"`
	}{path, recipient}
	if s.format.Structured() {
		return s.format.Print(s.Out, render.Object{Kind: "ArchiveKey", Name: filepath.Base(path), Value: made})
	}
	screen := s.screen()
	screen.Line(screen.State("ok", render.Good), render.Cell{Text: ": secret key in " + path + ", for you only", Tone: render.Strong})
	fact(screen, "recipient", "%s", recipient)
	screen.Line()
	screen.Line(render.Cell{Text: "next: "}, render.Cell{Text: "kubectl etcd backup --follow --archive LOCATION --recipient " + recipient, Tone: render.Strong})
	return screen.Flush()
}
