package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// copySnapshot copies the database of a snapshot, without its sha256, and checks that it is
// still the file that was planned with.
func copySnapshot(ctx context.Context, snapshot Snapshot, to io.Writer) error {
	file, size, err := snapshot.reopen()
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	if size != snapshot.Size {
		return damaged("%s has changed since it was verified", snapshot.Path)
	}
	h := sha256.New()
	source := io.TeeReader(io.NewSectionReader(file, 0, size-sealSize), h)
	if err := copyContext(ctx, to, source); err != nil {
		return err
	}
	if _, err := io.Copy(h, io.NewSectionReader(file, size-sealSize, sealSize)); err != nil {
		return readError(err)
	}
	if hex.EncodeToString(h.Sum(nil)) != snapshot.SHA256 {
		return damaged("%s has changed since it was verified", snapshot.Path)
	}
	return nil
}

func copyFile(ctx context.Context, from string, to io.Writer) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	return copyContext(ctx, to, file)
}

// NewFile makes a file, for the owner only, and fills it. On an error none is left.
func NewFile(path string, fill func(*os.File) error) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(fill(file), file.Close())
	if err != nil {
		err = errors.Join(err, removeIfThere(path))
	}
	return err
}

// makeParents is os.MkdirAll that tells what it made, from the top.
func makeParents(dir string) ([]string, error) {
	var missing []string
	for {
		_, err := os.Stat(dir)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		missing = append(missing, dir)
		dir = filepath.Dir(dir)
	}
	var made []string
	for i := len(missing) - 1; i >= 0; i-- {
		if err := os.Mkdir(missing[i], 0o700); err != nil {
			return made, err
		}
		made = append(made, missing[i])
	}
	return made, nil
}

// closeToOthers leaves a tree to its owner alone: etcd makes the raft snapshot, which
// names the members, readable for all.
func closeToOthers(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if entry.IsDir() {
			mode = 0o700
		}
		return os.Chmod(path, mode)
	})
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
