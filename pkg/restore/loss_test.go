package restore

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// lossEvent is a put, or with version 0 a delete.
type lossEvent struct {
	key     string
	version int64
	value   string
}

func put(key string, version int64, value ...string) lossEvent {
	return lossEvent{key: key, version: version, value: strings.Join(value, "")}
}

func del(key string) lossEvent { return lossEvent{key: key} }

func (e lossEvent) encode(t testing.TB, revision int64) segment.Event {
	t.Helper()
	kv := &mvccpb.KeyValue{Key: []byte(e.key)}
	if e.version > 0 {
		kv.Version, kv.CreateRevision, kv.ModRevision, kv.Value = e.version, 1, revision, []byte(e.value)
	}
	record, err := proto.Marshal(kv)
	if err != nil {
		t.Fatal(err)
	}
	return segment.Event{Tombstone: e.version == 0, Record: record}
}

func lossChange(t testing.TB, revision int64, events ...lossEvent) segment.Change {
	t.Helper()
	at := time.Unix(1_700_000_000+revision, 0)
	c := segment.Change{Revision: segment.Revision(revision), Lower: at, Upper: at}
	for _, event := range events {
		c.Events = append(c.Events, event.encode(t, revision))
	}
	return c
}

// lossOf adds one revision after the other, from 101 on.
func lossOf(t testing.TB, revisions ...[]lossEvent) *Loss {
	t.Helper()
	l := &Loss{}
	for i, events := range revisions {
		if err := l.Add(lossChange(t, int64(101+i), events...)); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func stored(t testing.TB, object kruntime.Object) string {
	t.Helper()
	info, _ := kruntime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), kruntime.ContentTypeProtobuf)
	value, err := kruntime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion), object)
	if err != nil {
		t.Fatal(err)
	}
	return string(value)
}

func storedService(t testing.TB, kind corev1.ServiceType, finalizers ...string) string {
	t.Helper()
	return stored(t, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "a", Finalizers: finalizers}, Spec: corev1.ServiceSpec{Type: kind}})
}

func TestLossTransitions(t *testing.T) {
	const key = "/registry/configmaps/ns/a"
	created, changed, deleted, transient := LossCount{Created: 1}, LossCount{Changed: 1}, LossCount{Deleted: 1}, LossCount{Transient: 1}
	type revisions [][]lossEvent
	tests := []struct {
		name      string
		revisions revisions
		want      LossCount
	}{
		{"created", revisions{{put(key, 1)}}, created},
		{"created and changed", revisions{{put(key, 1)}, {put(key, 2)}}, created},
		{"created twice", revisions{{put(key, 1)}, {del(key)}, {put(key, 1)}}, created},
		{"changed", revisions{{put(key, 2)}}, changed},
		{"changed twice", revisions{{put(key, 7)}, {put(key, 8)}}, changed},
		{"deleted and created again", revisions{{del(key)}, {put(key, 1)}}, changed},
		{"changed, deleted and created again", revisions{{put(key, 2)}, {del(key)}, {put(key, 1)}}, changed},
		{"deleted", revisions{{del(key)}}, deleted},
		{"changed and deleted", revisions{{put(key, 2)}, {del(key)}}, deleted},
		{"deleted, created and deleted again", revisions{{del(key)}, {put(key, 1)}, {del(key)}}, deleted},
		{"made and gone", revisions{{put(key, 1)}, {del(key)}}, transient},
		{"made and gone twice", revisions{{put(key, 1)}, {del(key)}, {put(key, 1)}, {put(key, 2)}, {del(key)}}, transient},

		{"made and gone at once", revisions{{put(key, 1), del(key)}}, transient},
		{"changed and gone at once", revisions{{put(key, 2), del(key)}}, deleted},
		{"gone and made at once", revisions{{del(key), put(key, 1)}}, changed},
		{"made, gone and made at once", revisions{{put(key, 1), del(key), put(key, 1)}}, created},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.want.Resource = "configmaps"
			got := lossOf(t, test.revisions...).Report(-1)
			want := LossReport{First: 101, Last: int64(100 + len(test.revisions)), Revisions: len(test.revisions), Resources: []LossCount{test.want}}
			if test.want.Created > 0 {
				want.Unread = 1 // the value is none
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLossResources(t *testing.T) {
	const known = `{"kind":"A","apiVersion":"v1"}`
	l := lossOf(t,
		[]lossEvent{put("/registry/pods/ns/b", 1, known), put("/registry/pods/ns/a", 3), del("/registry/pods/ns/c")},
		[]lossEvent{put("/registry/cert-manager.io/certificates/ns/a", 1, known), del("/registry/minions/a")},
		[]lossEvent{put("/app/x/y", 1), put("app/z", 2), del("plain"), put("/registry/health", 1), put("\xff/a", 1), put("\x1b[31m/a", 1), put("/", 1), put("//a", 1)},
		[]lossEvent{put("/registry/services/endpoints/ns/a", 2), put("/registry/masterleases/10.0.0.1", 9)},
	)
	want := []LossCount{
		{Resource: "app", Created: 1, Changed: 1},
		{Resource: "certificates.cert-manager.io", Created: 1},
		{Resource: "endpoints", Changed: 1},
		{Resource: "masterleases", Changed: 1},
		{Resource: "nodes", Deleted: 1},
		{Resource: "other", Created: 4, Deleted: 1},
		{Resource: "pods", Created: 1, Changed: 1, Deleted: 1},
		{Resource: "registry", Created: 1},
	}
	got := l.Report(0)
	if diff := cmp.Diff(want, got.Resources); diff != "" {
		t.Error(diff)
	}
	if len(got.Outside) != 0 || got.More != 1 || got.Unread != 0 {
		t.Errorf("%d outside, %d more, %d unread", len(got.Outside), got.More, got.Unread)
	}
}

func TestLossOutside(t *testing.T) {
	const (
		service = "/registry/services/specs/ns/a"
		secret  = "k8s:enc:aescbc:v1:key1:xxx"
	)
	balancer := storedService(t, corev1.ServiceTypeLoadBalancer, "service.kubernetes.io/load-balancer-cleanup")
	cluster := storedService(t, corev1.ServiceTypeClusterIP)
	finalized := stored(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Finalizers: []string{"x", "y"}}})
	plain := stored(t, &corev1.ConfigMap{})
	type revisions [][]lossEvent
	tests := []struct {
		name      string
		revisions revisions
		want      string // change, object: why
		unread    int
	}{
		{"volume created", revisions{{put("/registry/persistentvolumes/a", 1, secret)}}, "created persistentvolumes a: holds a volume", 0},
		{"volume deleted", revisions{{del("/registry/persistentvolumes/a")}}, "deleted persistentvolumes a: holds a volume", 0},
		{"volume changed", revisions{{put("/registry/persistentvolumes/a", 2)}}, "", 0},
		{"volume made and gone", revisions{{put("/registry/persistentvolumes/a", 1)}, {del("/registry/persistentvolumes/a")}}, "", 0},
		{"claim", revisions{{del("/registry/persistentvolumeclaims/ns/a")}}, "deleted persistentvolumeclaims ns/a: holds a volume", 0},
		{"node", revisions{{put("/registry/minions/a", 1)}}, "created nodes a: stands for a machine", 0},
		{"machine", revisions{{del("/registry/cluster.x-k8s.io/machines/ns/a")}}, "deleted machines.cluster.x-k8s.io ns/a: stands for machines", 0},
		{"machine set", revisions{{del("/kubernetes.io/machine.openshift.io/machinesets/ns/a")}}, "deleted machinesets.machine.openshift.io ns/a: stands for machines", 0},
		{"node claim", revisions{{put("/registry/karpenter.sh/nodeclaims/a", 1)}}, "created nodeclaims.karpenter.sh a: stands for machines", 0},
		{"node pool", revisions{{put("/registry/karpenter.sh/nodepools/a", 1)}}, "created nodepools.karpenter.sh a: stands for machines", 0},
		{"volumes of others", revisions{{del("/registry/example.com/persistentvolumes/a")}}, "", 0},

		{"balancer created", revisions{{put(service, 1, balancer)}}, "created services ns/a: has a load balancer", 0},
		{"balancer became one", revisions{{put(service, 1, cluster)}, {put(service, 2, balancer)}}, "created services ns/a: has a load balancer", 0},
		{"balancer no more", revisions{{put(service, 1, balancer)}, {put(service, 2, cluster)}}, "", 0},
		{"cluster IP created", revisions{{put(service, 1, cluster)}}, "", 0},
		{"balancer changed", revisions{{put(service, 2, balancer)}}, "", 0},
		{"balancer deleted", revisions{{put(service, 2, balancer)}, {del(service)}}, "deleted services ns/a: has a load balancer", 0},
		{"balancer, cluster IP, deleted", revisions{{put(service, 2, balancer)}, {put(service, 3, cluster)}, {del(service)}}, "deleted services ns/a: has a load balancer", 0},
		{"cluster IP deleted", revisions{{put(service, 2, cluster)}, {del(service)}}, "", 0},
		{"service deleted unseen", revisions{{del(service)}}, "", 0},
		{"secret service created", revisions{{put(service, 1, secret)}}, "", 1},
		{"secret service deleted", revisions{{put(service, 2, secret)}, {del(service)}}, "", 1},
		{"secret service changed", revisions{{put(service, 2, secret)}}, "", 0},

		{"finalizers created", revisions{{put("/registry/configmaps/ns/a", 1, finalized)}}, "created configmaps ns/a: finalizers: x, y", 0},
		{"finalizers came", revisions{{put("/registry/configmaps/ns/a", 1, plain)}, {put("/registry/configmaps/ns/a", 2, finalized)}}, "created configmaps ns/a: finalizers: x, y", 0},
		{"finalizers went", revisions{{put("/registry/configmaps/ns/a", 1, finalized)}, {put("/registry/configmaps/ns/a", 2, plain)}}, "", 0},
		{"finalizers changed", revisions{{put("/registry/configmaps/ns/a", 2, finalized)}}, "", 0},
		{"finalizers deleted", revisions{{put("/registry/configmaps/ns/a", 2, finalized)}, {del("/registry/configmaps/ns/a")}}, "", 0},
		{"finalizers made and gone", revisions{{put("/registry/configmaps/ns/a", 1, finalized)}, {del("/registry/configmaps/ns/a")}}, "", 0},
		{"custom", revisions{{put("/registry/example.com/buckets/ns/a", 1, `{"kind":"Bucket","apiVersion":"example.com/v1","metadata":{"finalizers":["example.com/bucket"]}}`)}}, "created buckets.example.com ns/a: finalizers: example.com/bucket", 0},
		{"secret", revisions{{put("/registry/secrets/ns/a", 1, secret)}}, "", 1},
		{"secret became known", revisions{{put("/registry/secrets/ns/a", 1, secret)}, {put("/registry/secrets/ns/a", 2, plain)}}, "", 0},
		{"secret made and gone", revisions{{put("/registry/secrets/ns/a", 1, secret)}, {del("/registry/secrets/ns/a")}}, "", 0},
		{"no object", revisions{{put("/app/a", 1, finalized)}}, "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := lossOf(t, test.revisions...).Report(-1)
			var got string
			for _, o := range r.Outside {
				got += fmt.Sprintf("%s %s: %s", o.Change, o.Object, o.Why)
			}
			if got != test.want || r.Unread != test.unread || r.More != 0 {
				t.Errorf("%q, %d unread, %d more; want %q, %d unread", got, r.Unread, r.More, test.want, test.unread)
			}
		})
	}
}

func TestLossLimit(t *testing.T) {
	l := lossOf(t, []lossEvent{del("/registry/minions/b"), del("/registry/persistentvolumes/c"), del("/registry/minions/a"), del("/registry/persistentvolumeclaims/ns/d")})
	order := []string{"nodes a", "nodes b", "persistentvolumeclaims ns/d", "persistentvolumes c"}
	for limit, want := range map[int]int{-1: 4, 0: 0, 1: 1, 3: 3, 4: 4, 9: 4} {
		r := l.Report(limit)
		var got []string
		for _, o := range r.Outside {
			got = append(got, o.Object.String())
		}
		if !cmp.Equal(got, append([]string(nil), order[:want]...)) || r.More != 4-want {
			t.Errorf("limit %d: %q and %d more", limit, got, r.More)
		}
	}
}

func TestLossZero(t *testing.T) {
	var l Loss
	b, err := json.Marshal(l.Report(3))
	if want := `{"revisions":0,"resources":[]}`; err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
}

func TestLossJSON(t *testing.T) {
	l := lossOf(t, []lossEvent{put("/registry/karpenter.sh/nodeclaims/a", 1), del("/registry/minions/b")})
	b, err := json.Marshal(l.Report(1))
	want := `{"first":101,"last":101,"revisions":1,"resources":[` +
		`{"resource":"nodeclaims.karpenter.sh","created":1,"changed":0,"deleted":0,"transient":0},` +
		`{"resource":"nodes","created":0,"changed":0,"deleted":1,"transient":0}],` +
		`"outside":[{"object":{"group":"karpenter.sh","resource":"nodeclaims","name":"a"},"change":"created","why":"stands for machines"}],"more":1}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v\nwant %s", b, err, want)
	}
}

func TestLossRefuses(t *testing.T) {
	l := lossOf(t, []lossEvent{put("/registry/minions/a", 1)})
	before := l.Report(-1)
	broken := lossChange(t, 102, put("/registry/minions/b", 1), del("/registry/minions/c"))
	broken.Events[1].Record = []byte("\xff")
	for name, c := range map[string]segment.Change{
		"again":      lossChange(t, 101, put("/registry/minions/b", 1)),
		"before":     lossChange(t, 100, put("/registry/minions/b", 1)),
		"no event":   lossChange(t, 102),
		"no record":  broken,
		"no version": lossChange(t, 102, put("/registry/minions/b", -1)),
	} {
		if err := l.Add(c); err == nil {
			t.Errorf("%s: was taken", name)
		}
		if diff := cmp.Diff(before, l.Report(-1)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestLossMark(t *testing.T) {
	l := &Loss{}
	mark := lossChange(t, 101, lossEvent{})
	mark.Events[0] = segment.Event{}
	if err := l.Add(mark); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(LossReport{First: 101, Last: 101, Revisions: 1, Resources: []LossCount{}}, l.Report(-1)); diff != "" {
		t.Error(diff)
	}
}

// TestLossMemory holds the doc comment to its word.
func TestLossMemory(t *testing.T) {
	const keys = 100_000
	finalized := stored(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Finalizers: []string{"batch.kubernetes.io/job-tracking"}}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := &Loss{}
	for i := range keys {
		if err := l.Add(lossChange(t, int64(101+i), put(fmt.Sprintf("/registry/pods/a/%015d", i), 1, finalized))); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapAlloc-before.HeapAlloc) / keys
	runtime.KeepAlive(l)
	t.Logf("%d bytes for a key of 32", each)
	if each > 132+20 {
		t.Errorf("%d bytes for each key of 32", each)
	}
}

// TestLossModel compares with a model of a few keys over random revisions.
func TestLossModel(t *testing.T) {
	for seed := range uint64(200) {
		m := newLossModel(seed)
		before, l := m.names(), &Loss{}
		for revision := int64(101); revision < 120; revision++ {
			if err := l.Add(lossChange(t, revision, m.step()...)); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(m.want(before), l.Report(-1).Resources); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}

// lossModel keeps versions as etcd does.
type lossModel struct {
	random  *rand.Rand
	version map[string]int64
	touched map[string]bool
}

func newLossModel(seed uint64) *lossModel {
	m := &lossModel{random: rand.New(rand.NewPCG(seed, 1)), version: map[string]int64{}, touched: map[string]bool{}}
	for i := range 10 {
		if m.random.IntN(2) == 0 {
			m.version[fmt.Sprintf("/k/%d", i)] = 1 + m.random.Int64N(3)
		}
	}
	return m
}

func (m *lossModel) names() map[string]bool {
	names := map[string]bool{}
	for key := range m.version {
		names[key] = true
	}
	return names
}

func (m *lossModel) step() (events []lossEvent) {
	for range 1 + m.random.IntN(3) {
		key := fmt.Sprintf("/k/%d", m.random.IntN(10))
		m.touched[key] = true
		if m.version[key] > 0 && m.random.IntN(2) == 0 {
			delete(m.version, key)
			events = append(events, del(key))
			continue
		}
		m.version[key]++
		events = append(events, put(key, m.version[key]))
	}
	return events
}

func (m *lossModel) want(before map[string]bool) []LossCount {
	c := LossCount{Resource: "k"}
	for key := range m.touched {
		switch there := m.version[key] > 0; {
		case before[key] && there:
			c.Changed++
		case before[key]:
			c.Deleted++
		case there:
			c.Created++
		default:
			c.Transient++
		}
	}
	return []LossCount{c}
}
