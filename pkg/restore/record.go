package restore

import (
	"bytes"
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// revisionKey is a key of bucket "key": main and sub revision, and whether the key
// was deleted by it (server/storage/mvcc/revision.go).
type revisionKey struct {
	main, sub int64
	tombstone bool
}

const (
	revisionSize  = 17 // main u64, '_', sub u64, big endian
	tombstoneSize = revisionSize + 1
)

func parseRevision(b []byte) (revisionKey, error) {
	if len(b) != revisionSize && len(b) != tombstoneSize || b[8] != '_' {
		return revisionKey{}, damaged("%q is no revision", b)
	}
	r := revisionKey{main: int64(binary.BigEndian.Uint64(b)), sub: int64(binary.BigEndian.Uint64(b[9:]))}
	r.tombstone = len(b) == tombstoneSize && b[revisionSize] == 't'
	if r.main < 0 || r.sub < 0 {
		return revisionKey{}, damaged("revision %d_%d is negative", r.main, r.sub)
	}
	return r, nil
}

// revisionBytes is the key that etcd stores for a put at main, sub 0.
func revisionBytes(main int64) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, revisionSize), uint64(main))
	return append(b, '_', 0, 0, 0, 0, 0, 0, 0, 0)
}

// recordKey returns the key of an encoded mvccpb.KeyValue.
func recordKey(b []byte) (key []byte, ok bool) {
	key, _, ok = readRecord(b)
	return key, ok
}

// readRecord returns key and lease of an encoded mvccpb.KeyValue. It accepts exactly what
// proto.Unmarshal accepts, for etcd ends itself over a record that it can't decode.
// etcdutl's revision bump leaves an empty record: an empty key.
func readRecord(b []byte) (key []byte, lease int64, ok bool) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, 0, false
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(number, kind, b)
		if size < 0 {
			return nil, 0, false
		}
		switch {
		case number == 1 && kind == protowire.BytesType:
			key, _ = protowire.ConsumeBytes(b)
		case number == 6 && kind == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			lease = int64(v)
		}
		b = b[size:]
	}
	return key, lease, true
}

// kubernetesPrefixes are the API server's usual --etcd-prefix values, upstream's and
// OpenShift's.
var kubernetesPrefixes = [][]byte{[]byte("/registry/"), []byte("/kubernetes.io/")}

// compactKey is written by the compactor of every kube-apiserver, whatever its prefix
// (k8s.io/apiserver/pkg/storage/etcd3/compact.go).
var compactKey = []byte("compact_rev_key")

// isNamespaceKey: every Kubernetes has some, whatever its prefix, and they are where most of
// its objects are (k8s.io/apiserver's --etcd-servers-overrides moves single resources).
func isNamespaceKey(key []byte) bool { return bytes.Contains(key, []byte("/namespaces/")) }

func isKubernetesKey(key []byte) bool {
	for _, prefix := range kubernetesPrefixes {
		if bytes.HasPrefix(key, prefix) {
			return true
		}
	}
	return bytes.Equal(key, compactKey)
}
