package cmd

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/registry"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// shown is one line.
type shown struct {
	Revision  int64     `json:"revision"`
	Time      time.Time `json:"time"`
	After     time.Time `json:"notBefore"`
	Verb      string    `json:"verb"` // create, update, delete
	Resource  string    `json:"resource,omitempty"`
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name,omitempty"`
	Key       string    `json:"key"`
	KeyBase64 []byte    `json:"keyBase64,omitempty"` // of a key that is no text
	Version   int64     `json:"version,omitempty"`
	Lease     string    `json:"lease,omitempty"`
	Size      int       `json:"size"`   // bytes of the value
	Before    int64     `json:"before"` // restores to just before it
}

// print shows those events of a change that are asked for.
func (o *tailOptions) print(record segment.Record) error {
	change, ok := record.(segment.Change)
	if !ok {
		return nil
	}
	for _, e := range change.Events {
		line, err := newShown(change, e)
		if err != nil {
			return err
		}
		if !o.wants(line) {
			continue
		}
		if err := o.write(line); err != nil {
			return err
		}
	}
	return nil
}

func newShown(c segment.Change, e segment.Event) (shown, error) {
	var kv mvccpb.KeyValue
	if err := proto.Unmarshal(e.Record, &kv); err != nil {
		return shown{}, fmt.Errorf("read revision %d: %w", c.Revision, err)
	}
	line := shown{
		Revision: int64(c.Revision), Time: c.Upper.UTC(), After: c.Lower.UTC(), Verb: "update",
		Key: string(kv.Key), Version: kv.Version, Size: len(kv.Value), Before: int64(c.Revision) - 1,
	}
	switch {
	case e.Tombstone:
		line.Verb = "delete"
	case kv.Version == 1:
		line.Verb = "create"
	}
	if kv.Lease != 0 {
		line.Lease = fmt.Sprintf("%x", uint64(kv.Lease))
	}
	if !utf8.Valid(kv.Key) {
		line.KeyBase64 = kv.Key
	}
	if object, ok := registry.ParseKey(kv.Key); ok {
		line.Resource, line.Namespace, line.Name = object.ResourceName(), object.Namespace, object.Name
	}
	return line, nil
}

func (o *tailOptions) wants(line shown) bool {
	if o.deletes && line.Verb != "delete" {
		return false
	}
	if len(o.resources) > 0 && !slices.Contains(o.resources, line.Resource) {
		return false
	}
	if namespace := *o.kube.Namespace; namespace != "" && line.Namespace != namespace {
		return false
	}
	if o.object == "" {
		return true
	}
	matched, _ := path.Match(o.object, line.Name) // the pattern was looked at
	return matched
}

// timeText is a time to the millisecond, as changes have it.
func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func (o *tailOptions) write(line shown) error {
	if o.format.Structured() {
		b, err := json.Marshal(line)
		if err == nil {
			_, err = o.Out.Write(append(b, '\n'))
		}
		return err
	}
	object := line.Key
	if line.Resource != "" {
		object = line.Resource + " " + strings.TrimPrefix(line.Namespace+"/"+line.Name, "/")
	}
	screen := o.screen()
	tone := map[string]render.Tone{"delete": render.Bad, "create": render.Good}[line.Verb]
	screen.Say(4,
		render.Cell{Text: fmt.Sprintf("%s  %10d  ", timeText(line.Time), line.Revision), Tone: render.Dim},
		render.Cell{Text: fmt.Sprintf("%-6s  ", line.Verb), Tone: tone},
		render.Cell{Text: object},
		render.Cell{Text: fmt.Sprintf("  before: %d", line.Before), Tone: render.Dim},
	)
	return screen.Flush()
}
