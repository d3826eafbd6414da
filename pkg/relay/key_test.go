package relay

import "testing"

func TestPin(t *testing.T) {
	key := newKey(t)
	if got, err := ParsePin(key.Pin().String()); err != nil || got != key.Pin() {
		t.Errorf("%s: got %s, %v", key.Pin(), got, err)
	}
	if other := newKey(t); other.Pin() == key.Pin() {
		t.Error("two keys have one pin")
	}
	const zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	if got, err := ParsePin("sha256/" + zeros); err != nil || got != (Pin{}) {
		t.Errorf("zeros: %s, %v", got, err)
	}
	for _, text := range []string{"", zeros, "sha256/", "sha256/AAAA", "sha256/" + zeros + "A", "sha512/" + zeros, "sha256/" + zeros[:42] + "B="} {
		if got, err := ParsePin(text); err == nil {
			t.Errorf("%q was taken for %s", text, got)
		}
	}
}

func newKey(t *testing.T) *Key {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
