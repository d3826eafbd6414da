package render

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in binary units: "512 B", "45.2 MiB".
func Bytes(n int64) string {
	const unit = 1024
	if n < unit && n > -unit {
		return strconv.FormatInt(n, 10) + " B"
	}
	value, index := float64(n)/unit, 0
	// 1023.95 would print as 1024.0
	for (value >= 1023.95 || value <= -1023.95) && index < len("KMGTPE")-1 {
		value /= unit
		index++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[index])
}

// Duration is a duration with about three digits: "1.2ms", "4.3s", "2m5s".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Duration(-d)
	case d == 0:
		return "0s"
	case d < 10*time.Millisecond:
		return trimUnit(float64(d)/float64(time.Millisecond), 2, "ms")
	case d < 995*time.Millisecond:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + "ms"
	case d < time.Minute:
		return trimUnit(d.Seconds(), 1, "s")
	}
	return d.Round(time.Second).String()
}

func trimUnit(value float64, digits int, unit string) string {
	text := strconv.FormatFloat(value, 'f', digits, 64)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + unit
}

// Percent is part of whole: "2.2%"; "-" when the whole is unknown (0).
func Percent(part, whole int64) string {
	if whole <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(whole))
}

// Time is RFC 3339 in UTC, to the second.
func Time(t time.Time) string { return t.UTC().Format(time.RFC3339) }
