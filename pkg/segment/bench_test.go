package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"runtime"
	"testing"
)

// kubernetesLike are changes as Kubernetes makes them: objects that are written again and
// again with little in them changed, some of them deleted, by about 2 events a revision.
// A third of each value does not compress.
func kubernetesLike(events int) []Change {
	random := rand.New(rand.NewSource(1))
	var changes []Change
	for n := 0; n < events; {
		revision := Revision(len(changes) + 2)
		group := []Event{kubernetesEvent(random, revision)}
		for random.Intn(2) == 0 {
			group = append(group, kubernetesEvent(random, revision))
		}
		changes = append(changes, change(revision, int64(revision), group...))
		n += len(group)
	}
	return changes
}

func kubernetesEvent(random *rand.Rand, revision Revision) Event {
	object := random.Intn(5000)
	key := fmt.Sprintf("/registry/pods/namespace-%d/deployment-%d-%08x", object%40, object%300, object*7919)
	if random.Intn(20) == 0 {
		return tombstone(key)
	}
	noise := make([]byte, 120)
	random.Read(noise)
	value := fmt.Appendf(nil, "k8s\x00\n\tv1\x12\x03Pod\x12\x80\n\x9a\x08%s\x12\x00\x1a%s\"\x00*$%x2\x008\x00B\x08kubelet Update v1 FieldsV1:{\"f:status\":{\"f:conditions\":{\"k:{type:ContainersReady}\":{\".\":{},\"f:lastProbeTime\":{},\"f:lastTransitionTime\":{}}}}} phase Running podIP 10.244.%d.%d", key[30:], key[15:30], noise, object%250, object%251)
	return putOf(keyValue{key: []byte(key), create: 1, modified: int64(revision), version: 2, value: value, lease: 0})
}

// size is how many bytes of backend keys and values changes put.
func size(changes []Change) (bytes, events int64) {
	for _, c := range changes {
		for _, event := range c.Events {
			bytes += int64(len(event.Record)) + BackendKeySize
		}
		events += int64(len(c.Events))
	}
	return bytes, events
}

func BenchmarkEncode(b *testing.B) {
	changes := kubernetesLike(100_000)
	bytes, events := size(changes)
	b.SetBytes(bytes)
	b.ReportAllocs()
	var written int64
	for b.Loop() {
		e := NewEncoder(io.Discard)
		for _, c := range changes {
			if err := e.Encode(c); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := e.Close(); err != nil {
			b.Fatal(err)
		}
		written = e.Size()
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(written)/float64(bytes), "size/plain")
}

func BenchmarkDecode(b *testing.B) {
	changes := kubernetesLike(100_000)
	plain, events := size(changes)
	body := encodeChanges(b, changes)
	b.SetBytes(plain)
	b.ReportAllocs()
	var key []byte
	for b.Loop() {
		d := NewDecoder(bytes.NewReader(body))
		for {
			record, err := d.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			for sub, event := range record.(Change).Events {
				key = AppendBackendKey(key[:0], record.(Change).Revision, sub, event.Tombstone)
			}
		}
	}
	runtime.KeepAlive(key)
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkDigestWithoutValues(b *testing.B) {
	change := kubernetesLike(1)[0]
	for b.Loop() {
		change.DigestWithoutValues()
	}
}

func encodeChanges(t testing.TB, changes []Change) []byte {
	t.Helper()
	records := make(spec, len(changes))
	for i, c := range changes {
		records[i] = c
	}
	body, _ := records.encode(t)
	return body
}
