package registry

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protowire"
)

// Meta is what a stored value tells without its type.
type Meta struct {
	Kind       string
	APIVersion string // as stored: "v1", "apps/v1"
	Finalizers []string
	// ServiceType is a core Service's spec.type, empty for all else.
	ServiceType string
	// Encrypted: the API server encrypted it, so that nothing else is known.
	Encrypted bool
	// Known: it is of a form that is understood. If not, all but Encrypted is empty.
	Known bool
}

var (
	// protobufMagic is k8s.io/apimachinery's pkg/runtime/serializer/protobuf's.
	protobufMagic = []byte("k8s\x00")
	// encryptedPrefix starts all that k8s.io/apiserver's pkg/storage/value/encrypt makes.
	encryptedPrefix = []byte("k8s:enc:")
)

// The fields that are read (generated.proto in k8s.io/apimachinery's pkg/runtime and
// pkg/apis/meta/v1, and in k8s.io/api's core/v1).
const (
	fieldUnknownTypeMeta = 1
	fieldUnknownRaw      = 2

	fieldTypeMetaAPIVersion = 1
	fieldTypeMetaKind       = 2

	fieldObjectMeta           = 1 // of every type that is stored
	fieldObjectMetaFinalizers = 14

	fieldServiceSpec     = 2
	fieldServiceSpecType = 4
)

// Peek reads a stored value: protobuf, as the API server stores what is built in, or JSON, as
// it stores custom resources. The result shares nothing with value.
func Peek(value []byte) Meta {
	if bytes.HasPrefix(value, encryptedPrefix) {
		return Meta{Encrypted: true}
	}
	m, ok := Meta{Known: true}, false
	if message, found := bytes.CutPrefix(value, protobufMagic); found {
		ok = m.readProtobuf(message)
	} else {
		ok = m.readJSON(value)
	}
	if !ok || m.Kind == "" {
		return Meta{}
	}
	return m
}

func (m *Meta) isService() bool { return m.Kind == "Service" && m.APIVersion == "v1" }

// readProtobuf reads a runtime.Unknown.
func (m *Meta) readProtobuf(message []byte) bool {
	var typeMeta, raw []byte
	return eachField(message, func(number protowire.Number, v []byte) {
		switch number {
		case fieldUnknownTypeMeta:
			typeMeta = v
		case fieldUnknownRaw:
			raw = v
		}
	}) && m.readTypeMeta(typeMeta) && m.readRaw(raw)
}

func (m *Meta) readTypeMeta(message []byte) bool {
	return eachField(message, func(number protowire.Number, v []byte) {
		switch number {
		case fieldTypeMetaAPIVersion:
			m.APIVersion = string(v)
		case fieldTypeMetaKind:
			m.Kind = string(v)
		}
	})
}

func (m *Meta) readRaw(message []byte) bool {
	var meta, spec []byte
	ok := eachField(message, func(number protowire.Number, v []byte) {
		switch number {
		case fieldObjectMeta:
			meta = v
		case fieldServiceSpec:
			spec = v
		}
	})
	if !ok || !m.readObjectMeta(meta) {
		return false
	}
	return !m.isService() || m.readServiceSpec(spec)
}

func (m *Meta) readObjectMeta(message []byte) bool {
	return eachField(message, func(number protowire.Number, v []byte) {
		if number == fieldObjectMetaFinalizers {
			m.Finalizers = append(m.Finalizers, string(v))
		}
	})
}

func (m *Meta) readServiceSpec(message []byte) bool {
	return eachField(message, func(number protowire.Number, v []byte) {
		if number == fieldServiceSpecType {
			m.ServiceType = string(v)
		}
	})
}

// eachField calls visit with the fields of a protobuf message that have a length: strings,
// bytes and messages. False: it is none.
func eachField(message []byte, visit func(protowire.Number, []byte)) bool {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		size := protowire.ConsumeFieldValue(number, kind, message)
		if size < 0 {
			return false
		}
		if kind == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(message)
			visit(number, v)
		}
		message = message[size:]
	}
	return true
}

// readJSON goes by maps, for a struct's fields would be found in any case.
func (m *Meta) readJSON(value []byte) bool {
	var object, meta, spec map[string]json.RawMessage
	if !readField(value, &object) || !readField(object["kind"], &m.Kind) || !readField(object["apiVersion"], &m.APIVersion) {
		return false
	}
	if !readField(object["metadata"], &meta) || !readField(meta["finalizers"], &m.Finalizers) {
		return false
	}
	if !m.isService() {
		return true
	}
	return readField(object["spec"], &spec) && readField(spec["type"], &m.ServiceType)
}

// readField leaves into as it is where there is no such field.
func readField(value json.RawMessage, into any) bool {
	return value == nil || json.Unmarshal(value, into) == nil
}
