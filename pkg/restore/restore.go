// Package restore makes etcd data directories out of what was kept.
//
// Its one idea: verify, plan, then build beside the target and rename: a directory
// appears whole or not at all, and nothing that exists is ever written over.
//
// A snapshot is read without bbolt (boltfile.go): a file from a bad disk must give an
// error, and bbolt gives a fault. What was read so and found in order, bbolt writes to.
package restore

import (
	"errors"
	"fmt"
)

var (
	// ErrNotSnapshot: the file is no etcd snapshot at all.
	ErrNotSnapshot = errors.New("not an etcd snapshot")
	// ErrNoChecksum: it is an etcd database, but the sha256 that every snapshot ends with
	// is missing, so that nothing tells whether it is whole. It is an ErrNotSnapshot.
	ErrNoChecksum = fmt.Errorf("%w: it has no sha256 at its end: the database was copied out of a data directory, where it may be half written, or the file lost its last bytes", ErrNotSnapshot)
	// ErrDamaged: it was one, but is truncated or changed.
	ErrDamaged = errors.New("snapshot is damaged")
	// ErrExists: a target exists already.
	ErrExists = errors.New("already exists")
	// ErrMembers: the members of the new cluster can't be told, or contradict each other.
	ErrMembers = errors.New("members of the new cluster")
	// ErrNoSpace: a file system has less room than the plan needs.
	ErrNoSpace = errors.New("not enough disk space")
)
