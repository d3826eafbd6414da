package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// keyValue is what etcd stores of a key: mvccpb.KeyValue (etcd's api/mvccpb/kv.proto).
type keyValue struct {
	key                       []byte
	create, modified, version int64
	value                     []byte
	lease                     int64
}

// The fields of mvccpb.KeyValue, and protobuf's wire types
// (protobuf.dev/programming-guides/encoding).
const (
	fieldKey      = 1
	fieldCreate   = 2
	fieldModified = 3
	fieldVersion  = 4
	fieldValue    = 5
	fieldLease    = 6

	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// parseKeyValue decodes a marshalled mvccpb.KeyValue, in which a later etcd may have
// fields that we don't know. The result's slices are b's.
func parseKeyValue(b []byte) (keyValue, error) {
	var kv keyValue
	s := scanner{b: b}
	for len(s.b) > 0 && !s.failed {
		tag := s.uvarint()
		field := tag >> 3
		switch tag & 7 {
		case wireVarint:
			kv.setNumber(field, int64(s.uvarint()))
		case wireBytes:
			kv.setBytes(field, s.bytes(s.uvarint()))
		case wireFixed64:
			s.bytes(8)
		case wireFixed32:
			s.bytes(4)
		default:
			s.failed = true
		}
		if field == 0 {
			s.failed = true
		}
	}
	if s.failed {
		return keyValue{}, errors.New("record is no KeyValue")
	}
	return kv, nil
}

func (kv *keyValue) setNumber(field uint64, v int64) {
	switch field {
	case fieldCreate:
		kv.create = v
	case fieldModified:
		kv.modified = v
	case fieldVersion:
		kv.version = v
	case fieldLease:
		kv.lease = v
	}
}

func (kv *keyValue) setBytes(field uint64, v []byte) {
	switch field {
	case fieldKey:
		kv.key = v
	case fieldValue:
		kv.value = v
	}
}

// validate refuses a put that no etcd makes at revision at.
func (kv *keyValue) validate(at Revision) error {
	switch {
	case len(kv.key) == 0:
		return errors.New("put of an empty key")
	case kv.modified != int64(at):
		return fmt.Errorf("put has the mod revision %d", kv.modified)
	case kv.create < 1 || kv.create > kv.modified:
		return fmt.Errorf("put has the create revision %d", kv.create)
	case kv.version < 1:
		return fmt.Errorf("put has the version %d", kv.version)
	}
	return nil
}

// validateTombstone refuses what etcd does not store for a delete.
func (kv *keyValue) validateTombstone() error {
	if len(kv.key) == 0 {
		return errors.New("delete of an empty key")
	}
	if kv.create != 0 || kv.modified != 0 || kv.version != 0 || kv.lease != 0 || len(kv.value) != 0 {
		return errors.New("delete holds more than the key")
	}
	return nil
}

// BackendKeySize is the most that AppendBackendKey appends.
const BackendKeySize = 18

// AppendBackendKey appends the key under which etcd stores, in its bucket "key", event
// number sub (from 0) of a revision: both numbers as 8 bytes, big endian, with '_' between
// and, for a tombstone, 't' behind (etcd's server/storage/mvcc/revision.go). The value is
// the event's Record.
func AppendBackendKey(b []byte, revision Revision, sub int, tombstone bool) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(revision))
	b = append(b, '_')
	b = binary.BigEndian.AppendUint64(b, uint64(sub))
	if tombstone {
		b = append(b, 't')
	}
	return b
}
