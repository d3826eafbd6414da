package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// checkSpace compares what the plan writes to each file system with what is free there.
func checkSpace(plan *Plan) error {
	needs := map[uint64]int64{}
	add := func(dir string, bytes int64) error {
		dir, err := existing(dir)
		if err != nil {
			return err
		}
		free, device, err := freeSpace(dir)
		if err != nil {
			return fmt.Errorf("look for free space in %s: %w", dir, err)
		}
		needs[device] += bytes
		if needs[device] > free {
			return fmt.Errorf("%w: %s needs %d MiB and has %d MiB", ErrNoSpace, dir, needs[device]>>20, free>>20)
		}
		return nil
	}
	if plan.ScratchDir != "" {
		if err := add(plan.ScratchDir, plan.scratchBytes()); err != nil {
			return err
		}
	}
	for _, target := range plan.Build {
		if err := add(target.Dir, plan.memberBytes()); err != nil {
			return err
		}
	}
	return nil
}

// existing is dir, or the nearest directory above it that is there.
func existing(dir string) (string, error) {
	for {
		_, err := os.Stat(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return dir, err
		}
		dir = filepath.Dir(dir)
	}
}
