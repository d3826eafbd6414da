package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"sort"
	"strconv"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// The buckets of etcd's backend that are read or written here, and their keys
// (server/storage/schema/bucket.go).
const (
	keyBucket     = "key"
	metaBucket    = "meta"
	alarmBucket   = "alarm"
	clusterBucket = "cluster"
	memberBucket  = "members"
	removedBucket = "members_removed"

	scheduledCompactKey = "scheduledCompactRev"
	finishedCompactKey  = "finishedCompactRev"
	storageVersionKey   = "storageVersion"
	confStateKey        = "confState"
	clusterVersionKey   = "clusterVersion"
	downgradeKey        = "downgrade"
)

// database is etcd's backend in a bbolt file.
type database struct {
	file    *boltFile
	buckets map[string]bucket
	order   []string // of the names, as in the file
	meta    map[string][]byte
	// Compact is the revision of the last compaction, also of one that is still to be
	// carried out; -1: never. As in a server that has just started.
	compact  int64
	revision int64
}

// openDatabase reads what stands at the top of the first size bytes of r: the buckets,
// meta, and the last revision.
func openDatabase(ctx context.Context, r io.ReaderAt, size int64) (*database, error) {
	file, err := openBolt(r, size)
	if err != nil {
		return nil, err
	}
	list, err := file.buckets(ctx)
	if err != nil {
		return nil, err
	}
	d := &database{file: file, buckets: map[string]bucket{}}
	for _, b := range list {
		d.buckets[string(b.name)] = b
		d.order = append(d.order, string(b.name))
	}
	for _, name := range []string{keyBucket, metaBucket} {
		if _, ok := d.buckets[name]; !ok {
			return nil, fmt.Errorf("%w: a bbolt database of something else, it has no bucket %q", ErrNotSnapshot, name)
		}
	}
	if d.meta, err = d.small(ctx, metaBucket); err != nil {
		return nil, err
	}
	return d, d.readRevision(ctx)
}

// readRevision works as a starting server does (mvcc/kvstore.go, restore): the last
// record's revision, or a compaction's above it, whose tombstone is gone.
func (d *database) readRevision(ctx context.Context) error {
	d.compact, d.revision = -1, 1
	for _, name := range []string{scheduledCompactKey, finishedCompactKey} {
		value, ok := d.meta[name]
		if !ok {
			continue
		}
		r, err := parseRevision(value)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		d.compact = max(d.compact, r.main)
	}
	key, err := d.file.last(ctx, d.buckets[keyBucket])
	if err != nil {
		return err
	}
	d.revision = max(d.revision, d.compact)
	if key == nil {
		return nil
	}
	r, err := parseRevision(key)
	d.revision = max(d.revision, r.main)
	return err
}

// small reads a whole bucket, one of those that are small: meta, members, alarms.
func (d *database) small(ctx context.Context, name string) (map[string][]byte, error) {
	values := map[string][]byte{}
	b, ok := d.buckets[name]
	if !ok {
		return values, nil
	}
	err := d.file.walk(ctx, b, func(e entry) error {
		values[string(e.key)] = bytes.Clone(e.value)
		return nil
	})
	return values, err
}

// scan is what one pass over the whole file finds.
type scan struct {
	set        *liveSet
	hash       hash.Hash32 // as etcdutl's, over every bucket's name, keys and values
	compact    int64
	last       revisionKey // the record before
	missing    int64       // revisions above the compaction without a record
	kubernetes bool
	namespaces bool // it holds some
}

// scan reads every page of the file once, checks that pages, keys and records are in
// order, and collects.
func (d *database) scan(ctx context.Context) (*scan, error) {
	s := &scan{set: newLiveSet(d.revision), hash: crc32.New(castagnoli), compact: d.compact}
	d.file.claimed = newBitmap(d.file.meta.high)
	defer func() { d.file.claimed = nil }()
	if _, err := d.file.buckets(ctx); err != nil { // for the pages of the top
		return nil, err
	}
	for _, name := range d.order {
		s.hash.Write([]byte(name))
		err := d.file.walk(ctx, d.buckets[name], func(e entry) error {
			s.hash.Write(e.key)
			s.hash.Write(e.value)
			if name == keyBucket {
				return s.record(e)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read bucket %q: %w", name, err)
		}
	}
	return s, d.file.checkFreelist()
}

func (s *scan) record(e entry) error {
	r, err := parseRevision(e.key)
	if err != nil {
		return err
	}
	key, ok := recordKey(e.value)
	if !ok {
		return damaged("revision %d_%d holds no key and value", r.main, r.sub)
	}
	s.set.see(r, key)
	s.kubernetes = s.kubernetes || isKubernetesKey(key)
	s.namespaces = s.namespaces || isNamespaceKey(key)
	s.countMissing(r)
	return nil
}

// countMissing counts the holes: each revision above the compaction has left a record.
func (s *scan) countMissing(r revisionKey) {
	before := max(s.last.main, s.compact)
	if r.main > before && before > 0 {
		s.missing += r.main - before - 1
	}
	s.last = r
}

// members reads the member list, by ID.
func (d *database) members(ctx context.Context) ([]etcd.Member, error) {
	values, err := d.small(ctx, memberBucket)
	if err != nil {
		return nil, err
	}
	var members []etcd.Member
	for id, value := range values {
		n, err := strconv.ParseUint(id, 16, 64)
		if err != nil {
			return nil, damaged("member %q has no ID", id)
		}
		var m struct {
			Name       string   `json:"name"`
			PeerURLs   []string `json:"peerURLs"`
			ClientURLs []string `json:"clientURLs"`
			IsLearner  bool     `json:"isLearner"`
		}
		if err := json.Unmarshal(value, &m); err != nil {
			return nil, damaged("member %s can't be read: %v", id, err)
		}
		members = append(members, etcd.Member{ID: etcd.ID(n), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner})
	}
	sort.Slice(members, func(i, j int) bool { return members[i].ID < members[j].ID })
	return members, nil
}

// alarms reads the raised alarms; each is the key of an entry.
func (d *database) alarms(ctx context.Context) ([]etcd.Alarm, error) {
	values, err := d.small(ctx, alarmBucket)
	if err != nil {
		return nil, err
	}
	var alarms []etcd.Alarm
	for key := range values {
		var m etcdserverpb.AlarmMember
		if err := proto.Unmarshal([]byte(key), &m); err != nil {
			return nil, damaged("an alarm can't be read: %v", err)
		}
		alarms = append(alarms, etcd.Alarm{MemberID: etcd.ID(m.GetMemberID()), Type: m.GetAlarm().String()})
	}
	sort.Slice(alarms, func(i, j int) bool { return alarms[i].MemberID < alarms[j].MemberID })
	return alarms, nil
}
