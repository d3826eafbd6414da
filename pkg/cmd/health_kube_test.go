package cmd

import (
	"testing"
	"time"
)

func TestPeriod(t *testing.T) {
	friday := time.Date(2026, 11, 27, 17, 0, 0, 0, time.UTC)
	for schedule, want := range map[string]time.Duration{
		"*/30 * * * *":       30 * time.Minute,
		"0 2 * * *":          24 * time.Hour,
		"@daily":             24 * time.Hour,
		"0 2 * * 1-5":        72 * time.Hour, // over the weekend
		"0 2 * * 0":          7 * 24 * time.Hour,
		"TZ=UTC 15 3 * * *":  24 * time.Hour,
		"0 0 31 2 *":         0, // never
		"every now and then": 0,
		"":                   0,
	} {
		if got := period(schedule, friday); got != want {
			t.Errorf("%q: %s, want %s", schedule, got, want)
		}
	}
}
