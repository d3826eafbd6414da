package tune

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"
)

// startLine is what etcd logs once of all that it was started with (server/v3 embed,
// print), from 3.4 on when its logger is zap.
const startLine = "starting an etcd server"

// maxLogLine bounds a line of the log: the one that counts takes 3 KiB.
const maxLogLine = 64 << 10

// ErrNoStart: the log does not hold the line, be it rotated away or of another form.
var ErrNoStart = errors.New("its log has no line \"" + startLine + "\"")

// ParseStarted reads the settings of a process out of its log in JSON, those of them that
// the log has as the flags have them. Whether they came from flags, environment or a file
// it does not tell, nor which are defaults. Errors: ErrNoStart, and those of reading.
func ParseStarted(log io.Reader) (Settings, error) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, maxLogLine)
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(startLine)) {
			continue
		}
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err == nil && line["msg"] == startLine {
			return startedWith(line), nil
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return nil, ErrNoStart
}

// logged are the fields that we understand, each with how its value becomes a flag's.
var logged = map[string]func(any) (string, bool){
	"heartbeat-interval":            milliseconds,
	"election-timeout":              milliseconds,
	"snapshot-count":                number,
	"snapshot-catchup-entries":      number,
	"max-wals":                      number,
	"max-snapshots":                 number,
	"quota-backend-bytes":           number,
	"max-request-bytes":             number,
	"pre-vote":                      boolean,
	"initial-election-tick-advance": boolean,
	"force-new-cluster":             boolean,
	"auto-compaction-mode":          word,
}

func startedWith(line map[string]any) Settings {
	settings := Settings{}
	for name, read := range logged {
		if value, ok := read(line[name]); ok {
			settings[name] = Setting{Value: value, From: FromLog}
		}
	}
	return settings
}

// milliseconds are a time such as "1.5s".
func milliseconds(value any) (string, bool) {
	text, _ := value.(string)
	d, err := time.ParseDuration(text)
	return strconv.FormatInt(d.Milliseconds(), 10), err == nil
}

func number(value any) (string, bool) {
	n, ok := value.(float64)
	return strconv.FormatInt(int64(n), 10), ok
}

func boolean(value any) (string, bool) {
	is, ok := value.(bool)
	return strconv.FormatBool(is), ok
}

func word(value any) (string, bool) {
	text, ok := value.(string)
	return text, ok && text != ""
}
