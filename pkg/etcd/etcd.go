// Package etcd is a connected etcd cluster: one client per member, never one for all.
//
// It takes a Dial func and knows no Kubernetes. Its one idea: a member is asked
// by itself, with its own deadline, so that one dead member hides no other.
package etcd

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Endpoint is one way to one member.
type Endpoint struct {
	Name       string // what the user knows it by: the pod's name, or host:port
	URL        string // "https://127.0.0.1:2379"; the scheme decides about TLS
	ServerName string // the name its certificate must carry; empty: the URL's host
	// Dial opens a connection to the member; nil dials the URL's host directly.
	Dial func(ctx context.Context) (net.Conn, error)
}

// Options are what all members of a cluster share.
type Options struct {
	TLS                *tls.Config // roots and client certificate; nil: none
	Username, Password string
	Logger             *slog.Logger
}

// Reader is what a look at a member needs. Client reads over gRPC, Ctl through
// an etcdctl that somebody else runs.
type Reader interface {
	Status(ctx context.Context) (Status, error)
	Members(ctx context.Context) ([]Member, error)
	Alarms(ctx context.Context) ([]Alarm, error)
}

// Client is a gRPC client of exactly one member.
type Client struct{}

// Open makes a client. It does no I/O: the first call connects.
func Open(endpoint Endpoint, options Options) (*Client, error) {
	panic("etcd: internal error: not written yet")
}

// Endpoint is what the client was opened with.
func (c *Client) Endpoint() Endpoint { panic("etcd: internal error: not written yet") }

// Raw is the underlying client, for calls that have no method here.
func (c *Client) Raw() *clientv3.Client { panic("etcd: internal error: not written yet") }

// Close ends the client and its connections.
func (c *Client) Close() error { panic("etcd: internal error: not written yet") }

// Status asks the member about itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	panic("etcd: internal error: not written yet")
}

// Members lists the cluster's members as this member has them (serializable, so
// that it answers without quorum).
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	panic("etcd: internal error: not written yet")
}

// Alarms lists the alarms raised in the cluster.
func (c *Client) Alarms(ctx context.Context) ([]Alarm, error) {
	panic("etcd: internal error: not written yet")
}

// HashKV is the member's hash of the key space at revision; 0 is its head.
func (c *Client) HashKV(ctx context.Context, revision int64) (Hash, error) {
	panic("etcd: internal error: not written yet")
}

// Snapshot streams the member's backend. The stream ends with io.EOF only after the
// trailing sha256 was seen and agrees with the bytes before it; otherwise with
// ErrIncomplete or ErrHashMismatch.
func (c *Client) Snapshot(ctx context.Context) (*SnapshotStream, error) {
	panic("etcd: internal error: not written yet")
}

// SnapshotStream is a backend as etcd streams it: the database, then its sha256 (32 bytes).
type SnapshotStream struct {
	io.ReadCloser
	Size    int64  // bytes that the server said will come, the sha256 included; 0 when it didn't say
	Version string // storage version the server told; empty before 3.6
}

// Ctl reads a member through etcdctl: Run runs it with args appended and returns
// its standard output.
type Ctl struct {
	Run func(ctx context.Context, args ...string) ([]byte, error)
}

// Status runs `endpoint status -w json`.
func (c *Ctl) Status(ctx context.Context) (Status, error) {
	panic("etcd: internal error: not written yet")
}

// Members runs `member list -w json`.
func (c *Ctl) Members(ctx context.Context) ([]Member, error) {
	panic("etcd: internal error: not written yet")
}

// Alarms runs `alarm list -w json`.
func (c *Ctl) Alarms(ctx context.Context) ([]Alarm, error) {
	panic("etcd: internal error: not written yet")
}

// ID is a member's or cluster's ID. Its text form is lower-case hex without leading zeros, as etcdctl prints it.
type ID uint64

// Member is one entry of the member list.
type Member struct {
	ID         ID       `json:"id"`
	Name       string   `json:"name"` // empty: added but never started
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs,omitempty"`
	Learner    bool     `json:"learner"`
}

// Status is one member's view of itself at one moment.
type Status struct {
	ClusterID      ID            `json:"clusterID"`
	MemberID       ID            `json:"memberID"`
	Leader         ID            `json:"leader"` // 0: it knows none
	Learner        bool          `json:"learner"`
	Version        string        `json:"version"`        // "3.7.3"
	StorageVersion string        `json:"storageVersion"` // "3.7.0"; empty before 3.6
	Revision       int64         `json:"revision"`
	RaftTerm       uint64        `json:"raftTerm"`
	RaftIndex      uint64        `json:"raftIndex"`
	RaftApplied    uint64        `json:"raftApplied"`
	DBSize         int64         `json:"dbSize"`            // bytes
	DBSizeInUse    int64         `json:"dbSizeInUse"`       // bytes
	DBSizeQuota    int64         `json:"dbSizeQuota"`       // bytes; 0: unknown (before 3.6)
	Errors         []string      `json:"errors,omitempty"`  // the server's own words
	Latency        time.Duration `json:"latency,omitempty"` // of the call; 0: not measured this way
	At             time.Time     `json:"at"`                // when the answer came
}

// Alarm is one raised alarm.
type Alarm struct {
	MemberID ID     `json:"memberID"`
	Type     string `json:"type"` // "NOSPACE", "CORRUPT"
}

// Hash is an answer to HashKV.
type Hash struct {
	MemberID        ID     `json:"memberID"`
	Hash            uint32 `json:"hash"`
	HashRevision    int64  `json:"hashRevision"`
	CompactRevision int64  `json:"compactRevision"`
	Revision        int64  `json:"revision"` // the header's
}

// Contents is what a snapshot file holds (package restore reads it).
type Contents struct {
	Revision        int64  `json:"revision"`
	CompactRevision int64  `json:"compactRevision"`
	Keys            int64  `json:"keys"`    // live keys at Revision
	Records         int64  `json:"records"` // all key revisions, as etcdutl's "total keys"
	Hash            uint32 `json:"hash"`    // of the whole file, as `etcdutl snapshot status` prints it
	HashKV          uint32 `json:"hashKV"`  // at Revision, as a live member's HashKV answers
	StorageVersion  string `json:"storageVersion,omitempty"`
	Kubernetes      bool   `json:"kubernetes"` // it holds a Kubernetes key space
}
