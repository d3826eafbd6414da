package render

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type hexID uint64

func (h hexID) MarshalText() ([]byte, error) { return []byte("hex"), nil }

type inner struct {
	Deep string `json:"deep"`
}

type result struct {
	inner
	ID       hexID             `json:"id"`
	Index    uint64            `json:"index"`
	Size     int64             `json:"size"`
	Latency  time.Duration     `json:"latency"`
	None     time.Duration     `json:"none,omitempty"`
	At       time.Time         `json:"at"`
	Pointer  *inner            `json:"pointer,omitempty"`
	Names    []string          `json:"names"`
	Labels   map[string]string `json:"labels,omitempty"`
	Share    float64           `json:"share"`
	Secret   string            `json:"-"`
	internal string
}

func sampleObject() Object {
	return Object{Kind: "Result", Name: "main", Value: &result{
		inner: inner{"down"}, ID: 7, Index: math.MaxInt64, Size: 9007199254740993, Latency: 1200 * time.Microsecond,
		At: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("x", 3600)), Names: []string{"a"}, Share: 0.5,
		Secret: "key", internal: "x",
	}}
}

func TestPrint(t *testing.T) {
	const object = `{
    "apiVersion": "kubectl-etcd.dev/v1",
    "at": "2026-01-02T02:04:05.000006Z",
    "deep": "down",
    "id": "hex",
    "index": 9223372036854775807,
    "kind": "Result",
    "latency": 0.0012,
    "metadata": {
        "name": "main"
    },
    "names": [
        "a"
    ],
    "share": 0.5,
    "size": 9007199254740993
}
`
	list := List{Kind: "ResultList", Items: []Object{sampleObject(), {Kind: "Result", Name: "events", Value: inner{"x"}}}}
	for _, test := range []struct {
		format string
		what   Structured
		want   string
	}{
		{"json", sampleObject(), object},
		{"name", sampleObject(), "result.kubectl-etcd.dev/main\n"},
		{"name", list, "result.kubectl-etcd.dev/main\nresult.kubectl-etcd.dev/events\n"},
		{"jsonpath={.latency} {.size}", sampleObject(), "0.0012 9007199254740993"},
		{"jsonpath={.items[*].metadata.name}", list, "main events"},
		{"jsonpath={.nothing}", list, ""},
		{"go-template={{range .items}}{{.kind}} {{end}}", list, "Result Result "},
		{"yaml", Object{Kind: "Result", Name: "n", Value: inner{"x"}}, "apiVersion: kubectl-etcd.dev/v1\ndeep: x\nkind: Result\nmetadata:\n  name: \"n\"\n"},
	} {
		f, err := ParseFormat(test.format)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := f.Print(&out, test.what); err != nil {
			t.Errorf("%s: %v", test.format, err)
		}
		if diff := cmp.Diff(test.want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.format, diff)
		}
	}
}

func TestParseFormatRefuses(t *testing.T) {
	for _, text := range []string{"foo", "json=x", "jsonpath", "jsonpath=", "jsonpath={.a", "go-template={{", "go-template-file=/nonexistent/x"} {
		if _, err := ParseFormat(text); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestFormatForPeople(t *testing.T) {
	for text, wide := range map[string]bool{"": false, "wide": true} {
		f, err := ParseFormat(text)
		if err != nil || f.Structured() || f.Wide != wide {
			t.Errorf("%q: %+v %v", text, f, err)
		}
	}
}

// An index beyond int64 stays a number, and exact.
func TestHugeNumber(t *testing.T) {
	f, err := ParseFormat("json")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := f.Print(&out, Object{Kind: "R", Name: "n", Value: result{Index: math.MaxUint64}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"index": 18446744073709551615,`) {
		t.Errorf("got %s", out.String())
	}
}
