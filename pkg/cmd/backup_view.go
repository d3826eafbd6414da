package cmd

import (
	"fmt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/runbook"
)

// viewBackup is the answer, what is known about the file, and the command that uses it.
func viewBackup(s *render.Screen, r *backup.Report) {
	where := r.Path
	if where == "" {
		where = "standard output"
	}
	verdict := s.State("ok", render.Good)
	if len(r.Warnings) > 0 {
		verdict = s.State("warning", render.Warn)
	}
	s.Say(2, verdict, render.Cell{Text: ": snapshot in " + where, Tone: render.Strong})
	for _, warning := range r.Warnings {
		fact(s, "warning", "%s", warning)
	}
	fact(s, "size", "%s (%d bytes)", render.Bytes(r.Size), r.Size)
	if c := r.Contents; c != nil {
		fact(s, "revision", "%d (%s)", c.Revision, compacted(c.CompactRevision))
		fact(s, "keys", "%d (%d with their history)", c.Keys, c.Records)
		fact(s, "hash", "%x (as etcdutl snapshot status prints it)", c.Hash)
		fact(s, "hashKV", "%d (as a member's HashKV answers at that revision)", c.HashKV)
		fact(s, "storage", "%s", dash(c.StorageVersion))
	}
	if r.SHA256 != "" {
		fact(s, "sha256", "%s", r.SHA256)
	}
	fact(s, "member", "%s (%s) of cluster %s, etcd %s", r.Member, r.MemberID.String(), r.ClusterID.String(), dash(r.ServerVersion))
	fact(s, "took", "%s; for that long etcd could not reuse freed pages", render.Duration(r.Duration))
	if r.Tries > 1 {
		fact(s, "tries", "%d", r.Tries)
	}
	if r.Path != "" {
		s.Line()
		s.Line(render.Cell{Text: "next: "}, render.Cell{Text: restoreCommand(r.Path), Tone: render.Strong})
	}
}

// compacted: etcd counts from 1, and says -1 where nothing was ever compacted.
func compacted(revision int64) string {
	if revision <= 0 {
		return "never compacted"
	}
	return fmt.Sprintf("compacted at %d", revision)
}

// restoreCommand is exactly what restores path.
func restoreCommand(path string) string {
	return "kubectl etcd restore --from-file " + runbook.Quote(path) + " --out-dir restored"
}

// fact adds one line "  name   text".
func fact(s *render.Screen, name, format string, args ...any) {
	s.Say(12, render.Cell{Text: fmt.Sprintf("  %-9s ", name), Tone: render.Dim}, render.Cell{Text: fmt.Sprintf(format, args...)})
}
