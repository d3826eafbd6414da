package cmd

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/capture"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/discover"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/maintain"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/relay"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tune"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/tunnel"
)

// sentinels are all errors of ours that somebody may meet, by package and name.
var sentinels = map[string]error{
	"backup.ErrQuota": backup.ErrQuota, "backup.ErrStalled": backup.ErrStalled, "backup.ErrNoMember": backup.ErrNoMember, "backup.ErrWrite": backup.ErrWrite,
	"backup.ErrBaseNeeded": backup.ErrBaseNeeded, "backup.ErrSpoolFull": backup.ErrSpoolFull,
	"capture.ErrFork": capture.ErrFork, "capture.ErrCompacted": capture.ErrCompacted, "capture.ErrFarBehind": capture.ErrFarBehind,
	"capture.ErrHidden": capture.ErrHidden, "capture.ErrDisagree": capture.ErrDisagree,
	"discover.ErrNoCredentials": discover.ErrNoCredentials,
	"etcd.ErrNoPage":            etcd.ErrNoPage, "etcd.ErrIncomplete": etcd.ErrIncomplete, "etcd.ErrHashMismatch": etcd.ErrHashMismatch,
	"etcd.ErrServerName": etcd.ErrServerName, "etcd.ErrUntrusted": etcd.ErrUntrusted, "etcd.ErrExpired": etcd.ErrExpired,
	"etcd.ErrClientCert": etcd.ErrClientCert, "etcd.ErrPermission": etcd.ErrPermission, "etcd.ErrLogin": etcd.ErrLogin,
	"maintain.ErrUnready": maintain.ErrUnready, "maintain.ErrFull": maintain.ErrFull, "maintain.ErrLocked": maintain.ErrLocked, "maintain.ErrNoClock": maintain.ErrNoClock, "maintain.ErrNoMember": maintain.ErrNoMember,
	"relay.ErrForeign": relay.ErrForeign, "relay.ErrTarget": relay.ErrTarget, "relay.ErrMember": relay.ErrMember,
	"relay.ErrNotStarted": relay.ErrNotStarted, "relay.ErrClosed": relay.ErrClosed,
	"restore.ErrNotSnapshot": restore.ErrNotSnapshot, "restore.ErrDamaged": restore.ErrDamaged, "restore.ErrExists": restore.ErrExists,
	"restore.ErrMembers": restore.ErrMembers, "restore.ErrNoSpace": restore.ErrNoSpace, "restore.ErrUnproven": restore.ErrUnproven,
	"restore.ErrHash": restore.ErrHash, "restore.ErrRunning": restore.ErrRunning, "restore.ErrNoLog": restore.ErrNoLog,
	"restore.ErrGap": restore.ErrGap, "restore.ErrFork": restore.ErrFork, "restore.ErrNotCaptured": restore.ErrNotCaptured, "restore.ErrNoChecksum": restore.ErrNoChecksum,
	"segment.ErrDamaged": segment.ErrDamaged, "segment.ErrVersion": segment.ErrVersion, "segment.ErrTooLarge": segment.ErrTooLarge, "segment.ErrOutside": segment.ErrOutside,
	"store.ErrDamaged": store.ErrDamaged, "store.ErrExists": store.ErrExists, "store.ErrNotFound": store.ErrNotFound, "store.ErrSealed": store.ErrSealed,
	"store.ErrOtherCluster": store.ErrOtherCluster, "store.ErrLocation": store.ErrLocation, "store.ErrKeys": store.ErrKeys,
	"store.ErrOrigin": store.ErrOrigin, "store.ErrGap": store.ErrGap, "store.ErrNoBase": store.ErrNoBase,
	"tune.ErrNoStart":     tune.ErrNoStart,
	"tunnel.ErrForbidden": tunnel.ErrForbidden, "tunnel.ErrKubelet": tunnel.ErrKubelet, "tunnel.ErrRefused": tunnel.ErrRefused,
	"tunnel.ErrDropped": tunnel.ErrDropped, "tunnel.ErrUnreachable": tunnel.ErrUnreachable,
}

// within are those that another package of ours always turns into something else: into a note, a
// row, or an error of its own.
var within = map[string]bool{
	"capture.ErrFork": true, "capture.ErrCompacted": true, "capture.ErrFarBehind": true, // a base is taken
	"etcd.ErrNoPage": true, "tune.ErrNoStart": true, // what can't be measured
	"relay.ErrTarget": true, "relay.ErrClosed": true, // of the relay's own ends
	"restore.ErrUnproven": true, "segment.ErrOutside": true, // looked for elsewhere
}

// Whatever goes wrong, what to do next is said.
func TestEverySentinelHasAHint(t *testing.T) {
	declared := map[string]bool{}
	for _, file := range goFiles(t, "..") {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range errorsNew(parsed) {
			declared[parsed.Name.Name+"."+name] = true
		}
	}
	for name := range declared {
		if sentinels[name] == nil {
			t.Errorf("%s is declared, and not among the sentinels of this test", name)
		}
	}
	for name, err := range sentinels {
		if !declared[name] {
			t.Errorf("%s is declared nowhere", name)
		}
		s, _, _ := testSession(nil)
		f := s.explain(fmt.Errorf("do it: %w", err), "kubectl etcd x")
		if len(f.hints) == 0 && !within[name] {
			t.Errorf("%s (%v) has no hint", name, err)
		}
		for _, hint := range f.hints {
			if strings.TrimSpace(hint) == "" {
				t.Errorf("%s has an empty hint", name)
			}
		}
	}
}

// goFiles are the sources of all packages below dir, without tests.
func goFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// errorsNew are the exported variables of a file that errors.New or fmt.Errorf makes.
func errorsNew(file *ast.File) (names []string) {
	for _, declaration := range file.Decls {
		group, ok := declaration.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range group.Specs {
			value, ok := spec.(*ast.ValueSpec)
			if !ok || len(value.Values) != 1 || !value.Names[0].IsExported() {
				continue
			}
			if call, ok := value.Values[0].(*ast.CallExpr); ok {
				if f, ok := call.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "New" || f.Sel.Name == "Errorf") {
					names = append(names, value.Names[0].Name)
				}
			}
		}
	}
	return names
}
