package cmd

import (
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/durable"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

const keygenExample = `  # A key pair for archives: the secret half into a file, the public half on the screen
  kubectl etcd keygen -f archive-key.txt

  # The key that a writer signs with
  kubectl etcd keygen --signing -f writer-key`

const keygenLong = `Makes an age identity. Whoever has its public key can add to an archive and read nothing of
it; only the file opens what was encrypted to it. Keep it away from the cluster and from the
archive, and make a second one: without any of them the archive is lost.

The file is age's own (age-keygen makes the same): age -d -i FILE opens every object.

With --signing it is a writer's key instead: who writes has the file (--sign-key), and a
restore that knows the public half (--trusted-writer) refuses what others wrote. It opens
nothing. The file is OpenSSH's: ssh-keygen -y -f FILE prints the public half again.`

// newKeygenCommand builds "kubectl etcd keygen".
func newKeygenCommand(s *session) *cobra.Command {
	var path string
	var signing bool
	c := &cobra.Command{
		Use: "keygen", Short: "Make a key for archives", Long: keygenLong, Example: keygenExample,
		GroupID: groupBackup, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if path == "" {
				return usagef("-f FILE is missing: where shall the secret key go?")
			}
			if signing {
				return s.keygenSigning(path, time.Now())
			}
			return s.keygen(path, time.Now())
		},
	}
	c.Flags().StringVarP(&path, "file", "f", "", "the file for the secret key; it must not exist")
	c.Flags().BoolVar(&signing, "signing", false, "make a key for a writer to sign with, not one to decrypt with")
	return c
}

// keygen makes a key that opens an archive.
func (s *session) keygen(path string, now time.Time) error {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	recipient := identity.Recipient().String()
	text := fmt.Sprintf("# created: %s by %s keygen\n# public key: %s\n%s\n", now.UTC().Format(time.RFC3339), commandName, recipient, identity)
	if err := writeKey(path, []byte(text)); err != nil {
		return err
	}
	made := struct {
		Path      string `json:"path"`
		Recipient string `json:"recipient"`
	}{path, recipient}
	if s.format.Structured() {
		return s.format.Print(s.Out, render.Object{Kind: "ArchiveKey", Name: filepath.Base(path), Value: made})
	}
	return s.showKey(path, "recipient", recipient, "--recipient "+recipient)
}

// keygenSigning makes a key that a writer signs with.
func (s *session) keygenSigning(path string, now time.Time) error {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, commandName+" writer "+now.UTC().Format(time.RFC3339))
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	if err := writeKey(path, pem.EncodeToMemory(block)); err != nil {
		return err
	}
	made := struct {
		Path        string `json:"path"`
		Writer      string `json:"writer"`
		Fingerprint string `json:"fingerprint"`
	}{path, store.WriterText(public), store.WriterFingerprint(public)}
	if s.format.Structured() {
		return s.format.Print(s.Out, render.Object{Kind: "WriterKey", Name: filepath.Base(path), Value: made})
	}
	return s.showKey(path, "writer", made.Writer, "--recipient age1… --sign-key "+runbook.Quote(path))
}

// writeKey makes the file of a secret key, for its owner only.
func writeKey(path string, content []byte) error {
	file, err := durable.Create(path, false)
	if err != nil {
		return err
	}
	defer file.Discard()
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.Commit()
}

func (s *session) showKey(path, kind, public, flags string) error {
	screen := s.screen()
	screen.Say(2, screen.State("ok", render.Good), render.Cell{Text: ": secret key in " + path + ", for you only", Tone: render.Strong})
	fact(screen, kind, "%s", public)
	screen.Line()
	screen.Line(render.Cell{Text: "next: "}, render.Cell{Text: "kubectl etcd backup --follow --archive LOCATION " + flags + " --keep-within 48h --keep-daily 14", Tone: render.Strong})
	return screen.Flush()
}
