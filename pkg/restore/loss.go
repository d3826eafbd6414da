package restore

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
	"unique"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/registry"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// Loss sums up what happened after the moment that is restored, and so will be undone. It
// goes by the changes after that moment alone. The zero value is that of none.
//
// Memory is about 100 bytes and the key for each key that was touched.
type Loss struct {
	first, last segment.Revision
	revisions   int
	keys        map[string]keyLoss
}

// keyLoss is what became of one key.
type keyLoss struct {
	existed  bool // at the moment
	exists   bool // at the end
	balanced bool // a Service of type LoadBalancer: at the end, or ever, if it existed
	unread   bool // the last value could not be read
	// finalizers are the last value's, where they were looked for. Most objects have none,
	// and the others the same ones.
	finalizers unique.Handle[string]
}

// Add takes the next change after the moment. It refuses what no etcd does, and a revision
// that does not ascend; then nothing was added.
func (l *Loss) Add(c segment.Change) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Revision <= l.last {
		return fmt.Errorf("revision %d comes after %d", c.Revision, l.last)
	}
	kvs, err := keyValues(c)
	if err != nil {
		return err
	}
	for i, kv := range kvs {
		l.add(kv, c.Events[i].Tombstone)
	}
	if l.first == 0 {
		l.first = c.Revision
	}
	l.last = c.Revision
	l.revisions++
	return nil
}

func keyValues(c segment.Change) ([]*mvccpb.KeyValue, error) {
	kvs := make([]*mvccpb.KeyValue, len(c.Events))
	for i, event := range c.Events {
		kvs[i] = &mvccpb.KeyValue{}
		if err := proto.Unmarshal(event.Record, kvs[i]); err != nil {
			return nil, fmt.Errorf("revision %d: event %d: %w", c.Revision, i, err)
		}
	}
	return kvs, nil
}

// add takes an event. A key's first one tells whether it existed: etcd counts versions from
// 1 at each creation, and deletes nothing that is not there.
func (l *Loss) add(kv *mvccpb.KeyValue, tombstone bool) {
	if len(kv.Key) == 0 {
		return // etcdutl's mark
	}
	k, touched := l.keys[string(kv.Key)]
	if !touched {
		k.existed = tombstone || kv.Version > 1
	}
	k.exists = !tombstone
	if k.exists {
		k.look(kv)
	}
	if l.keys == nil {
		l.keys = map[string]keyLoss{}
	}
	l.keys[string(kv.Key)] = k
}

// look keeps of a value what Report may need.
func (k *keyLoss) look(kv *mvccpb.KeyValue) {
	object, ok := registry.ParseKey(kv.Key)
	service := object.ResourceName() == "services"
	if !ok || k.existed && !service {
		return
	}
	m := registry.Peek(kv.Value)
	k.balanced = m.ServiceType == "LoadBalancer" || k.existed && k.balanced
	k.unread = !m.Known
	k.finalizers = unique.Handle[string]{}
	if len(m.Finalizers) > 0 {
		k.finalizers = unique.Make(strings.Join(m.Finalizers, ", "))
	}
}

// What became of an object.
const (
	lossCreated   = "created"
	lossChanged   = "changed"
	lossDeleted   = "deleted"
	lossTransient = "transient"
)

func (k keyLoss) change() string {
	switch {
	case k.existed && k.exists:
		return lossChanged
	case k.existed:
		return lossDeleted
	case k.exists:
		return lossCreated
	}
	return lossTransient
}

// why tells why an object that was created or deleted is listed. Empty: it is not.
func (k keyLoss) why(o registry.Object) string {
	switch o.ResourceName() {
	case "persistentvolumes", "persistentvolumeclaims":
		return "holds a volume"
	case "nodes":
		return "stands for a machine"
	}
	switch o.Resource {
	case "machines", "machinesets", "nodeclaims", "nodepools":
		return "stands for machines"
	}
	switch {
	case k.balanced:
		return "has a load balancer"
	case k.exists && k.finalizers != unique.Handle[string]{}:
		return "finalizers: " + k.finalizers.Value()
	}
	return ""
}

// LossReport is a Loss for people.
type LossReport struct {
	// First and Last are the first and the last revision that will be undone; 0: none.
	First     int64 `json:"first,omitempty"`
	Last      int64 `json:"last,omitempty"`
	Revisions int   `json:"revisions"`
	// Resources are sorted by name.
	Resources []LossCount `json:"resources"`
	// Outside are objects that were created or deleted and hold, or may hold, something
	// outside the cluster, which a restore does not undo: by resource, namespace and name.
	Outside []LossObject `json:"outside,omitempty"`
	More    int          `json:"more,omitempty"` // that Outside has no room for
	// Unread are objects that may be missing in Outside: they were created, or are
	// services that were deleted, and their last value is encrypted or of an unknown form.
	// A service of which nothing but its deletion was seen is in neither.
	Unread int `json:"unread,omitempty"`
}

// LossCount counts the keys of a resource by what became of them.
type LossCount struct {
	// Resource is "pods" or "certificates.cert-manager.io"; for what is no Kubernetes
	// object the key's first path segment, or "other".
	Resource string `json:"resource"`
	Created  int    `json:"created"` // not there at the moment, there at the end
	Changed  int    `json:"changed"` // there at both, whatever was between
	Deleted  int    `json:"deleted"` // there at the moment, not at the end
	// Transient were made and gone again: a restore does not touch them.
	Transient int `json:"transient"`
}

// LossObject is an object that holds something outside the cluster.
type LossObject struct {
	Object registry.Object `json:"object"`
	Change string          `json:"change"` // created or deleted
	Why    string          `json:"why"`
}

// Report tells of all that was added. Outside has at most limit objects; negative: all.
func (l *Loss) Report(limit int) LossReport {
	r := LossReport{First: int64(l.first), Last: int64(l.last), Revisions: l.revisions, Resources: []LossCount{}}
	counts := map[string]*LossCount{}
	for key, k := range l.keys {
		object, ok := registry.ParseKey([]byte(key))
		resource := object.ResourceName()
		if !ok {
			resource = firstSegment(key)
		}
		if counts[resource] == nil {
			counts[resource] = &LossCount{Resource: resource}
		}
		counts[resource].add(k.change())
		if ok && k.existed != k.exists {
			r.add(object, k)
		}
	}
	for _, count := range counts {
		r.Resources = append(r.Resources, *count)
	}
	slices.SortFunc(r.Resources, func(a, b LossCount) int { return strings.Compare(a.Resource, b.Resource) })
	r.sortOutside(limit)
	return r
}

func (c *LossCount) add(change string) {
	switch change {
	case lossCreated:
		c.Created++
	case lossChanged:
		c.Changed++
	case lossDeleted:
		c.Deleted++
	case lossTransient:
		c.Transient++
	}
}

// add takes an object that was created or deleted.
func (r *LossReport) add(object registry.Object, k keyLoss) {
	if why := k.why(object); why != "" {
		r.Outside = append(r.Outside, LossObject{Object: object, Change: k.change(), Why: why})
	} else if k.unread {
		r.Unread++
	}
}

func (r *LossReport) sortOutside(limit int) {
	slices.SortFunc(r.Outside, func(a, b LossObject) int {
		return strings.Compare(a.Object.String(), b.Object.String())
	})
	if limit >= 0 && len(r.Outside) > limit {
		r.More = len(r.Outside) - limit
		r.Outside = slices.Clip(r.Outside[:limit])
	}
}

// firstSegment names what is no Kubernetes object: "a" of "/a/b" and of "a/b". A key with
// less than two segments has none.
func firstSegment(key string) string {
	segment, _, ok := strings.Cut(strings.TrimPrefix(key, "/"), "/")
	if !ok || segment == "" || !utf8.ValidString(segment) || strings.ContainsFunc(segment, unicode.IsControl) {
		return "other"
	}
	return segment
}
