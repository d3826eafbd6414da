package health

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Unit is how a limit is written.
type Unit string

// The units: a duration as "10ms", bytes as "100MiB", a share as "75%", and plain counts.
const (
	Duration Unit = "duration"
	Bytes    Unit = "bytes"
	Share    Unit = "share"
	Count    Unit = "count"
)

// Limit is one number that checks go by.
type Limit struct {
	Name   string  // "fsync-p99"
	Value  float64 // seconds, bytes, a share of 1, or a count
	Unit   Unit
	Check  string // the id of the check that goes by it
	Level  Level  // what reaching it is
	Source string // whose number it is; "ours" where nobody upstream has one
}

// Limits are the numbers in use, by name.
type Limits map[string]float64

// DefaultLimits are those of the table.
func DefaultLimits() Limits {
	limits := Limits{}
	for _, l := range LimitTable() {
		limits[l.Name] = l.Value
	}
	return limits
}

// at is the limit called name.
func (l Limits) at(name string) float64 {
	value, ok := l[name]
	if !ok {
		panic(fmt.Sprintf("health: internal error: no limit %q", name))
	}
	return value
}

// seconds is a limit that is a duration.
func (l Limits) seconds(name string) time.Duration {
	return time.Duration(l.at(name) * float64(time.Second))
}

// With is l with one limit changed, as "fsync-p99=20ms".
func (l Limits) With(setting string) (Limits, error) {
	name, text, ok := strings.Cut(setting, "=")
	if !ok {
		return nil, fmt.Errorf("%q is not NAME=VALUE", setting)
	}
	table := LimitTable()
	i := slices.IndexFunc(table, func(limit Limit) bool { return limit.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no limit is called %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(l)), ", "))
	}
	value, err := table[i].Unit.parse(text)
	if err != nil {
		return nil, fmt.Errorf("limit %s: %w", name, err)
	}
	changed := maps.Clone(l)
	changed[name] = value
	return changed, nil
}

func (u Unit) parse(text string) (float64, error) {
	var value float64
	var err error
	switch u {
	case Duration:
		var d time.Duration
		d, err = time.ParseDuration(text)
		value = d.Seconds()
	case Bytes:
		value, err = parseBytes(text)
	case Share:
		number, isPercent := strings.CutSuffix(text, "%")
		value, err = strconv.ParseFloat(number, 64)
		if isPercent {
			value /= 100
		}
	default:
		value, err = strconv.ParseFloat(text, 64)
	}
	if err != nil || !(value >= 0) { // NaN is not
		return 0, fmt.Errorf("%q is no %s", text, u)
	}
	return value, nil
}

// parseBytes reads "100MiB", "2GiB", "512KiB" and plain numbers.
func parseBytes(text string) (float64, error) {
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			value, err := strconv.ParseFloat(number, 64)
			return value * float64(int64(1)<<(10*(i+1))), err
		}
	}
	return strconv.ParseFloat(text, 64)
}

// Format writes value as parse reads it.
func (u Unit) Format(value float64) string {
	switch u {
	case Duration:
		return time.Duration(value * float64(time.Second)).String()
	case Bytes:
		return formatBytes(value)
	case Share:
		return strconv.FormatFloat(value*100, 'f', -1, 64) + "%"
	}
	return strconv.FormatFloat(value, 'f', -1, 64)
}

func formatBytes(value float64) string {
	suffixes := []string{"", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for value >= 1024 && i < len(suffixes)-1 {
		value /= 1024
		i++
	}
	return strconv.FormatFloat(value, 'f', -1, 64) + suffixes[i]
}

// LimitTable is every limit, by check.
func LimitTable() []Limit {
	return slices.Concat(shapeLimits(), raftLimits(), spaceLimits(), latencyLimits(), integrityLimits(), wiringLimits())
}
