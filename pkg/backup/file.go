// Package backup takes a base of an etcd cluster.
//
// Its one idea: a snapshot is a stream, and its file appears whole or not at all.
package backup

import (
	"context"
	"io"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// Source is a member that can give a snapshot.
type Source struct {
	Name   string // pod name or host:port
	Client *etcd.Client
	Quota  int64 // quota-backend-bytes from its settings; 0: unknown
}

// Options says how SaveFile works.
type Options struct {
	Path string // the file to make; it must not exist unless Overwrite
	// Overwrite replaces an existing file, after the new one is whole.
	Overwrite bool
	// From is the name of the only source to use; empty: the follower with the least to do.
	From string
	// AbortAtQuota stops the stream when the member's database has grown to this
	// share of its quota (0.9): while a snapshot is open etcd can't reuse freed pages.
	AbortAtQuota float64
	// Inspect reads revision, keys and hashes back from the finished temporary file.
	Inspect func(ctx context.Context, path string) (etcd.Contents, error)
	// OnEvent is told of every start, retry and progress; may be nil.
	OnEvent func(Event)
}

// Event is progress.
type Event struct {
	Source string        // member
	Bytes  int64         // so far
	Total  int64         // 0: unknown
	Pinned time.Duration // how long the snapshot has been open
	Retry  error         // non-nil: the try through Source ended so, another follows
	Note   string        // something to tell: expected pin time, …
}

// Report is what a backup gave.
type Report struct {
	Path          string         `json:"path"`
	Member        string         `json:"member"`
	MemberID      etcd.ID        `json:"memberID"`
	ClusterID     etcd.ID        `json:"clusterID"`
	ServerVersion string         `json:"serverVersion"`
	Size          int64          `json:"size"`               // bytes, the sha256 included
	SHA256        string         `json:"sha256"`             // hex, the one at the end of the file
	Contents      *etcd.Contents `json:"contents,omitempty"` // nil when written to a stream
	Started       time.Time      `json:"started"`
	Duration      time.Duration  `json:"duration"` // also how long etcd's pages were pinned
	Tries         int            `json:"tries"`
}

// SaveFile writes a snapshot to options.Path: temp file beside it, 0600, fsync,
// Inspect, rename, fsync of the directory. A member that fails on the way is
// given up for another, from the start.
func SaveFile(ctx context.Context, sources []Source, options Options) (*Report, error) {
	panic("backup: internal error: not written yet")
}

// WriteTo streams one snapshot to w. After the first byte there is no retry.
func WriteTo(ctx context.Context, sources []Source, w io.Writer, options Options) (*Report, error) {
	panic("backup: internal error: not written yet")
}
