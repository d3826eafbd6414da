package segment

import (
	"sort"
	"testing"
	"time"
)

func TestName(t *testing.T) {
	for want, name := range map[string]Name{
		"seg-0000000000000001-7fffffffffffffff-20260725T143000.000Z-00000000.kseg": {1, 1<<63 - 1, at(0), 0},
		"seg-0000000000001a2b-0000000000001a3c-20260725T143000.123Z-1a2b3c4d.kseg": {0x1a2b, 0x1a3c, at(123), 0x1a2b3c4d},
	} {
		if got := name.String(); got != want {
			t.Errorf("String = %s, want %s", got, want)
		}
		if got, err := ParseName(want); err != nil || got != name {
			t.Errorf("ParseName(%s) = %+v, %v", want, got, err)
		}
	}
	zone := time.FixedZone("", 3600)
	if got := (Name{1, 2, at(0).In(zone), 3}).String(); got != "seg-0000000000000001-0000000000000002-20260725T143000.000Z-00000003.kseg" {
		t.Errorf("in another zone: %s", got)
	}
}

func TestParseNameRefuses(t *testing.T) {
	for _, name := range []string{
		"",
		"timeline.json",
		"base-0000000000000001-20260725T143000.000Z-00000000.db.zst",
		"seg-0000000000000001-0000000000000002-20260725T143000.000Z-00000003.kseg.age",
		"x/seg-0000000000000001-0000000000000002-20260725T143000.000Z-00000003.kseg",
		"seg-0000000000000001-0000000000000002-20260725T143000.000Z-00000003.kseg\n",
		"seg-0000000000000002-0000000000000001-20260725T143000.000Z-00000003.kseg", // upside down
		"seg-0000000000000000-0000000000000001-20260725T143000.000Z-00000003.kseg", // no revision
		"seg-8000000000000000-8000000000000001-20260725T143000.000Z-00000003.kseg", // negative
		"seg-1-2-20260725T143000.000Z-00000003.kseg",                               // not padded
		"seg-000000000000000A-000000000000000B-20260725T143000.000Z-00000003.kseg", // upper case
		"seg-0000000000000001-0000000000000002-20260732T143000.000Z-00000003.kseg", // 32nd
		"seg-0000000000000001-0000000000000002-20260725T143000Z-00000003.kseg",
		"seg-0000000000000001-0000000000000002-20260725T143000,000Z-00000003.kseg",
	} {
		if got, err := ParseName(name); err == nil {
			t.Errorf("ParseName(%q) = %+v", name, got)
		}
	}
}

// A listing comes in the order of the changes.
func TestNamesSort(t *testing.T) {
	names := []string{
		Name{2, 255, at(0), 9}.String(), Name{256, 256, at(1000), 8}.String(), Name{0x10000, 0x10001, at(2000), 1}.String(),
	}
	if !sort.StringsAreSorted(names) {
		t.Errorf("%q", names)
	}
}
