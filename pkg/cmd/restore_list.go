package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

// found is one file that looks like a snapshot by its name.
type found struct {
	Path     string            `json:"path"`
	Snapshot *restore.Snapshot `json:"snapshot,omitempty"`
	Error    string            `json:"error,omitempty"`
}

// list shows what this folder holds. Nothing was asked for that could be done, so the
// exit code is that of usage.
func (o *restoreOptions) list(ctx context.Context) error {
	paths, err := filepath.Glob("*.db")
	if err != nil {
		return fmt.Errorf("look for *.db: %w", err)
	}
	var files []found
	for _, path := range paths {
		file := found{Path: path}
		if file.Snapshot, err = restore.Open(ctx, path); err != nil {
			file.Snapshot, file.Error = nil, err.Error()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		files = append(files, file)
	}
	if err := o.printList(files); err != nil {
		return err
	}
	return exitWith(exitUsage)
}

func (o *restoreOptions) printList(files []found) error {
	if o.format.Structured() {
		list := render.List{Kind: "SnapshotList"}
		for _, f := range files {
			list.Items = append(list.Items, render.Object{Kind: "Snapshot", Name: f.Path, Value: f})
		}
		return o.format.Print(o.Out, list)
	}
	screen := o.screen()
	err := viewFound(screen, files)
	return errors.Join(err, screen.Flush())
}
