package segment

import (
	"bytes"
	"testing"
)

// What makes changes different, and what only with their values.
func TestDigest(t *testing.T) {
	of := func(kv keyValue) Change {
		kv.create, kv.modified = kv.create+5, 42
		return change(42, 10, putOf(kv), tombstone("z"))
	}
	kv := keyValue{key: []byte("a"), version: 1, value: []byte("one"), lease: 7}
	base := of(kv)
	again := of(kv)
	again.Lower, again.Upper = at(1000), at(2000)
	if base.Digest() != again.Digest() || base.DigestWithoutValues() != again.DigestWithoutValues() {
		t.Error("the times are among it")
	}
	if base.Digest() == base.DigestWithoutValues() {
		t.Error("both are the same")
	}
	other := kv
	other.value = []byte("two")
	if of(other).DigestWithoutValues() != base.DigestWithoutValues() {
		t.Error("the value is among it")
	}
	if of(other).Digest() == base.Digest() {
		t.Error("the value is not among it")
	}
	for name, c := range map[string]Change{
		"key":       of(keyValue{key: []byte("b"), version: 1, value: []byte("one"), lease: 7}),
		"create":    of(keyValue{key: []byte("a"), create: 1, version: 1, value: []byte("one"), lease: 7}),
		"version":   of(keyValue{key: []byte("a"), version: 2, value: []byte("one"), lease: 7}),
		"length":    of(keyValue{key: []byte("a"), version: 1, value: []byte("three"), lease: 7}),
		"lease":     of(keyValue{key: []byte("a"), version: 1, value: []byte("one"), lease: 8}),
		"revision":  {Revision: 43, Events: base.Events},
		"order":     {Revision: 42, Events: []Event{base.Events[1], base.Events[0]}},
		"fewer":     {Revision: 42, Events: base.Events[:1]},
		"more":      {Revision: 42, Events: append(base.Events[:2:2], base.Events[1])},
		"tombstone": {Revision: 42, Events: []Event{base.Events[0], {Record: base.Events[1].Record}}},
	} {
		if c.Digest() == base.Digest() {
			t.Errorf("%s is not in Digest", name)
		}
		if c.DigestWithoutValues() == base.DigestWithoutValues() {
			t.Errorf("%s is not in DigestWithoutValues", name)
		}
	}
}

// Digests stand in archives: they may never change. These were computed apart, in Python, from the description.
func TestDigestFrozen(t *testing.T) {
	c := change(42, 10, putOf(keyValue{key: []byte("a"), create: 5, modified: 42, version: 3, value: []byte("v"), lease: 7}), tombstone("b"))
	if got, want := c.Digest(), digestIn(t, "cc6be61786546c1be6b3e360a8fb8ff9c58a91ad4e50a0364349b8a78bae9abe"); got != want {
		t.Errorf("Digest = %s, want %s", got, want)
	}
	if got, want := c.DigestWithoutValues(), digestIn(t, "96afdaf1a5505eeee92a27eaf135816c709d8486b0c22627a112319229c340cc"); got != want {
		t.Errorf("DigestWithoutValues = %s, want %s", got, want)
	}
}

func TestBackendKey(t *testing.T) {
	want := []byte("x\x00\x00\x00\x00\x00\x00\x01\x02_\x00\x00\x00\x00\x00\x00\x00\x03")
	if got := AppendBackendKey([]byte("x"), 0x102, 3, false); !bytes.Equal(got, want) {
		t.Errorf("put: %q", got)
	}
	if got := AppendBackendKey([]byte("x"), 0x102, 3, true); !bytes.Equal(got, append(want, 't')) || len(got) != 1+BackendKeySize {
		t.Errorf("tombstone: %q", got)
	}
}
