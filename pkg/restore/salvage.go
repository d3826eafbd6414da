package restore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-semver/semver"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/pkg/v3/wait"
	"go.etcd.io/etcd/server/v3/auth"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3alarm"
	"go.etcd.io/etcd/server/v3/etcdserver/apply"
	"go.etcd.io/etcd/server/v3/etcdserver/cindex"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

var (
	// ErrRunning: an etcd has the data directory open.
	ErrRunning = errors.New("an etcd runs on this data directory")
	// ErrNoLog: the write-ahead log can't be read, or does not go on from the database.
	ErrNoLog = errors.New("the write-ahead log does not go on from the database")
)

// Salvaged is what a surviving data directory gave.
type Salvaged struct {
	Database int64 `json:"databaseRevision"` // to where the database itself goes
	Revision int64 `json:"revision"`         // with the log applied
	Entries  int   `json:"entries"`          // of the log, applied
	// Beyond are those of them that this member had not heard to be committed when it wrote
	// last. What other members acknowledged is among them, but perhaps also what never was.
	Beyond int `json:"beyondCommit"`
	// Left are entries that were not applied, being after the revision that was wanted.
	Left int `json:"left,omitempty"`
}

// Salvage writes a snapshot of what a data directory holds into a new file: its database, and
// its write-ahead log applied as etcd does it, to the log's end, or up to a revision; 0: to
// the end. Nothing in the directory is changed, and no etcd may run on it.
//
// HardState.Commit lags behind what was acknowledged (etcd --force-new-cluster stops there and
// loses writes), so the whole log is applied. Memory is that of the log since the last raft
// snapshot. On an error no file is left.
func Salvage(ctx context.Context, dataDir string, revision int64, path string) (*Salvaged, error) {
	database := filepath.Join(dataDir, "member", "snap", "db")
	if err := stopped(database); err != nil {
		return nil, fmt.Errorf("salvage %s: %w", dataDir, err)
	}
	var s *Salvaged
	err := NewFile(path, func(file *os.File) (err error) {
		if err := copyFile(ctx, database, file); err != nil {
			return err
		}
		if s, err = applyLog(ctx, filepath.Join(dataDir, "member", "wal"), revision, path); err != nil {
			return err
		}
		if revision != 0 && s.Revision > revision {
			if err := s.rewind(ctx, file, revision); err != nil {
				return err
			}
		}
		return seal(ctx, file)
	})
	if err != nil {
		return nil, fmt.Errorf("salvage %s: %w", dataDir, err)
	}
	return s, nil
}

// rewind takes out what the database itself holds after a revision.
func (s *Salvaged) rewind(ctx context.Context, file *os.File, revision int64) error {
	size, err := fileSize(file)
	if err != nil {
		return err
	}
	d, err := openDatabase(ctx, file, size)
	if err != nil {
		return err
	}
	if floor := max(d.compact, 1); revision < floor {
		return fmt.Errorf("%w: revision %d is before %d, to which the database goes back", ErrNotCaptured, revision, floor)
	}
	m := &Moment{Revision: revision, Base: s.Revision}
	s.Revision = revision
	return m.write(ctx, file, max(d.compact, 1), nil)
}

// stopped tells whether no etcd holds the database: it would be locked.
func stopped(database string) error {
	file, _, err := openRegular(database) // bbolt would make one that is not there
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	db, err := bolt.Open(database, 0o400, &bolt.Options{ReadOnly: true, Timeout: 200 * time.Millisecond})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return ErrRunning
	case err != nil:
		return damaged("its database: %v", err)
	}
	return db.Close()
}

// readLog is the log from the last raft snapshot that the database holds.
func readLog(dir string, index uint64) (hard *raftpb.HardState, entries []*raftpb.Entry, err error) {
	log := zap.NewNop()
	snapshots, err := wal.ValidSnapshotEntries(log, dir)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoLog, err)
	}
	var from *walpb.Snapshot
	for _, s := range snapshots {
		if s.GetIndex() <= index && (from == nil || s.GetIndex() > from.GetIndex()) {
			from = s
		}
	}
	if from == nil {
		return nil, nil, fmt.Errorf("%w: the database has applied raft index %d, and the log begins after it", ErrNoLog, index)
	}
	w, err := wal.OpenForRead(log, dir, from)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoLog, err)
	}
	_, hard, entries, err = w.ReadAll() // which closes the files of a log that is opened to be read
	return hard, entries, err
}

// applier is etcd's own way from the log to the database, without a server around it.
type applier struct {
	backend backend.Backend
	index   cindex.ConsistentIndexer
	kv      mvcc.WatchableKV
	lessor  lease.Lessor
	apply   apply.UberApplier
}

func newApplier(path string) (*applier, error) {
	log := zap.NewNop()
	a := &applier{index: cindex.NewConsistentIndex(nil)}
	config := backend.DefaultBackendConfig(log)
	config.Path, config.UnsafeNoFsync, config.BatchInterval = path, true, time.Hour
	config.Hooks = storage.NewBackendHooks(log, a.index)
	a.backend = backend.New(config)
	a.index.SetBackend(a.backend)
	cluster := membership.NewCluster(log)
	cluster.SetBackend(schema.NewMembershipBackend(log, a.backend))
	cluster.Recover(func(*zap.Logger, *semver.Version) {})
	a.lessor = lease.NewLessor(log, a.backend, cluster, lease.LessorConfig{MinLeaseTTL: int64(math.Ceil(1.5))})
	// Tokens are of no use here; it only has to be there.
	tokens, err := auth.NewTokenProvider(log, "simple", func(uint64) <-chan struct{} { c := make(chan struct{}); close(c); return c }, time.Minute)
	if err != nil {
		return nil, err
	}
	a.kv = mvcc.New(log, a.backend, a.lessor, mvcc.StoreConfig{})
	users := auth.NewAuthStore(log, schema.NewAuthBackend(log, a.backend), tokens, 4)
	alarms, err := v3alarm.NewAlarmStore(log, schema.NewAlarmBackend(log, a.backend))
	if err != nil {
		return nil, err
	}
	a.apply = apply.NewUberApplier(apply.ApplierOptions{
		Logger: log, KV: a.kv, AlarmStore: alarms, AuthStore: users, Lessor: a.lessor, Cluster: cluster,
		RaftStatus: noRaft{}, SnapshotServer: noRaft{}, ConsistentIndex: a.index, TxnModeWriteWithSharedBuffer: true,
		Backend: a.backend, QuotaBackendBytesCfg: -1, WarningApplyDuration: time.Hour,
	})
	a.backend.SetTxPostLockInsideApplyHook(func() {
		if index, term := a.index.ConsistentApplyingIndex(); index > a.index.UnsafeConsistentIndex() {
			a.index.SetConsistentIndex(index, term)
		}
	})
	return a, nil
}

func (a *applier) close() error {
	a.kv.Close() //nolint:errcheck // etcd's own gives none
	a.lessor.Stop()
	a.backend.ForceCommit()
	return a.backend.Close()
}

// noRaft stands where there is no raft any more.
type noRaft struct{}

func (noRaft) MemberID() types.ID     { return 1 }
func (noRaft) Leader() types.ID       { return 0 }
func (noRaft) CommittedIndex() uint64 { return 0 }
func (noRaft) AppliedIndex() uint64   { return 0 }
func (noRaft) Term() uint64           { return 1 }
func (noRaft) ForceSnapshot()         {}

// applyLog applies what the log has and the database has not.
func applyLog(ctx context.Context, dir string, until int64, path string) (_ *Salvaged, err error) {
	a, err := newApplier(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	s := &Salvaged{Database: a.kv.Rev()}
	if s.Revision = s.Database; until != 0 && until < s.Database {
		return s, nil // the log only goes on
	}
	applied := a.index.ConsistentIndex()
	hard, entries, err := readLog(dir, applied)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if entry.GetIndex() <= applied || entry.GetType() != raftpb.EntryNormal || len(entry.Data) == 0 {
			continue
		}
		if s.Left > 0 || until != 0 && a.kv.Rev() >= until && writes(entry) {
			s.Left++
			continue
		}
		a.one(entry)
		s.Entries++
		if entry.GetIndex() > hard.GetCommit() {
			s.Beyond++
		}
	}
	s.Revision = a.kv.Rev()
	if until != 0 && s.Revision != until {
		return nil, fmt.Errorf("%w: the log goes to revision %d", ErrNotCaptured, s.Revision)
	}
	return s, nil
}

func (a *applier) one(entry *raftpb.Entry) {
	a.index.SetConsistentApplyingIndex(entry.GetIndex(), entry.GetTerm())
	apply.Apply(zap.NewNop(), entry, a.apply, wait.New(), membership.ApplyBoth)
	if a.index.ConsistentIndex() < entry.GetIndex() {
		a.index.SetConsistentIndex(entry.GetIndex(), entry.GetTerm())
	}
}

// writes tells whether an entry may make a revision.
func writes(entry *raftpb.Entry) bool {
	var r etcdserverpb.InternalRaftRequest
	if proto.Unmarshal(entry.Data, &r) != nil {
		return true
	}
	return r.Put != nil || r.DeleteRange != nil || r.Txn != nil || r.LeaseRevoke != nil
}
