package health

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/registry"
)

// What --deep reads.
const (
	hashTries    = 3 // members may compact between one's hash and the next one's
	hashTimeout  = 60 * time.Second
	secretSample = 50  // Secrets whose values are looked at
	scanPage     = 100 // keys a page: with values of 1.5 MiB, the most that etcd takes, 150 MiB
	keptObjects  = 10  // values that are kept
)

// hashAll asks every voter for the hash at one revision, one after the other, the leader
// last: a hash reads all keys that are stored. It is asked again while members compact.
func hashAll(ctx context.Context, s Sources, facts *Facts) {
	for i := range facts.Members {
		facts.Members[i].Hash = Unknown[etcd.Hash]("no hash was asked for")
	}
	for range hashTries {
		if revision := lowestRevision(facts); revision > 0 {
			hashOnce(ctx, s, facts, revision)
		}
		if sameCompaction(facts.Members) || ctx.Err() != nil {
			return
		}
	}
}

func lowestRevision(facts *Facts) int64 {
	var lowest int64
	for _, m := range facts.Members {
		if m.View.Status != nil && !m.View.Status.Learner {
			if r := m.View.Status.Revision; lowest == 0 || r < lowest {
				lowest = r
			}
		}
	}
	return lowest
}

func hashOnce(ctx context.Context, s Sources, facts *Facts, revision int64) {
	for _, i := range leaderLast(facts.Members) {
		m := &facts.Members[i]
		client := s.clientOf(m.View.Source)
		switch {
		case m.silent() != "":
			m.Hash = Unknown[etcd.Hash](m.silent())
		case m.View.Status.Learner:
			m.Hash = Unknown[etcd.Hash]("a learner gives no hash")
		case client == nil:
			m.Hash = Unknown[etcd.Hash](errNoWay.Error())
		default:
			m.Hash = askHash(ctx, client, revision)
		}
	}
}

func askHash(ctx context.Context, client *etcd.Client, revision int64) Fact[etcd.Hash] {
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	hash, err := client.HashKV(ctx, revision)
	if err != nil {
		return Unknown[etcd.Hash](because(ctx, err))
	}
	return Known(hash)
}

// sameCompaction: all hashes that were given are over the same records.
func sameCompaction(members []Member) bool {
	revisions := map[int64]bool{}
	for _, m := range members {
		if m.Hash.Known() {
			revisions[m.Hash.Value.CompactRevision] = true
		}
	}
	return len(revisions) <= 1
}

func leaderLast(members []Member) []int {
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return rankOfLeader(members[a]) - rankOfLeader(members[b]) })
	return order
}

func rankOfLeader(m Member) int {
	if m.View.Leads() {
		return 1
	}
	return 0
}

func (s Sources) clientOf(name string) *etcd.Client {
	for _, source := range s.Members {
		if source.Name == name {
			return source.Client
		}
	}
	return nil
}

// SampleEncryption looks at how Secrets are stored. Their values are not kept.
func SampleEncryption(ctx context.Context, client *etcd.Client, prefix string) Fact[Encryption] {
	found := Encryption{By: map[string]int{}}
	err := client.Scan(ctx, prefix+"/secrets/", 10, secretSample, func(stored etcd.KeyValue) bool {
		found.Sampled++
		if by := provider(stored.Value); by == "" {
			found.Plain++
		} else {
			found.By[by]++
		}
		return true
	})
	if err != nil {
		return Unknown[Encryption](because(ctx, err))
	}
	return Known(found)
}

// provider is who encrypted a value: "aescbc:v1:key1" out of "k8s:enc:aescbc:v1:key1:…"; empty:
// it is plain (apiserver pkg/server/options/encryptionconfig).
func provider(value []byte) string {
	rest, encrypted := bytes.CutPrefix(value, []byte("k8s:enc:"))
	if !encrypted {
		return ""
	}
	parts := bytes.SplitN(rest, []byte(":"), 4)
	if len(parts) < 4 {
		return "unknown"
	}
	return string(bytes.Join(parts[:3], []byte(":")))
}

// Largest are the largest values below prefix, and how many keys each resource has.
func Largest(ctx context.Context, client *etcd.Client, prefix string) (Fact[[]Object], Fact[map[string]int64]) {
	var top []Object
	counts := map[string]int64{}
	err := client.Scan(ctx, prefix+"/", scanPage, 0, func(stored etcd.KeyValue) bool {
		counts[resourceOf(stored.Key)]++
		top = append(top, Object{stored.Key, int64(len(stored.Value))})
		if len(top) >= 2*scanPage {
			top = keepLargest(top)
		}
		return true
	})
	if err != nil {
		return Unknown[[]Object](because(ctx, err)), Unknown[map[string]int64](because(ctx, err))
	}
	return Known(keepLargest(top)), Known(counts)
}

func keepLargest(objects []Object) []Object {
	slices.SortFunc(objects, func(a, b Object) int { return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Key, b.Key)) })
	return objects[:min(keptObjects, len(objects))]
}

// resourceOf is the resource of a key as kubectl takes it; what is none counts as "other".
func resourceOf(key string) string {
	if object, ok := registry.ParseKey([]byte(key)); ok {
		return object.ResourceName()
	}
	return "other"
}
