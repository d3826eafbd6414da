package render

import (
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 47395635: "45.2 MiB", 1<<20 - 1: "1.0 MiB", 8 << 30: "8.0 GiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 850 * time.Microsecond: "0.85ms", 1200 * time.Microsecond: "1.2ms", 33 * time.Millisecond: "33ms",
		400 * time.Millisecond: "400ms", 999 * time.Millisecond: "1s", 4321 * time.Millisecond: "4.3s",
		125 * time.Second: "2m5s", -time.Second: "-1s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%d: got %s, want %s", d, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	if got := Percent(1, 8); got != "12.5%" {
		t.Errorf("got %s", got)
	}
	if got := Percent(1, 0); got != "-" {
		t.Errorf("of an unknown whole: %s", got)
	}
}

func TestTime(t *testing.T) {
	if got := Time(time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600))); got != "2026-01-02T02:04:05Z" {
		t.Errorf("got %s", got)
	}
}
