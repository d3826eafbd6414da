package load

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// recorded is a kind that keeps its objects in a map.
func recorded(objects map[string]bool) *kind {
	return &kind{
		name: "thing", prefix: "p",
		create: func(_ context.Context, name string, _ *rand.Rand) error {
			objects[name] = true
			return nil
		},
		patch: func(_ context.Context, name string, _ []byte) error {
			if !objects[name] {
				return errors.New("patch of " + name + ", which is not there")
			}
			return nil
		},
		remove: func(_ context.Context, name string, _ metav1.DeleteOptions) error {
			if !objects[name] {
				return errors.New("delete of " + name + ", which is not there")
			}
			delete(objects, name)
			return nil
		},
	}
}

func play(t *testing.T, seed uint64, writes int) (names []string, objects map[string]bool) {
	t.Helper()
	objects = map[string]bool{}
	k := recorded(objects)
	r := rand.New(rand.NewPCG(seed, seed))
	for range writes {
		w := k.next(r, 10)
		if err := w.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		names = append(names, w.name)
		if len(objects) > 11 {
			t.Fatalf("%d objects are alive, want at most 11", len(objects))
		}
	}
	return names, objects
}

func TestObjectsComeChangeAndGo(t *testing.T) {
	names, objects := play(t, 1, 300)
	all := strings.Join(names, ",")
	for _, verb := range []string{"create thing", "patch thing", "delete thing"} {
		if !strings.Contains(all, verb) {
			t.Errorf("300 writes had no %q", verb)
		}
	}
	if objects["p-000001"] {
		t.Error("the oldest object is still there")
	}
}

func TestSameSeedSameSequence(t *testing.T) {
	one, _ := play(t, 7, 100)
	two, _ := play(t, 7, 100)
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("sequences differ:\n%s", diff)
	}
}

func TestRunRefusesNoRate(t *testing.T) {
	if _, err := Run(t.Context(), nil, Options{}); err == nil {
		t.Error("a rate of 0 was accepted")
	}
}

func TestText(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{0, 1, 80, 8192} {
		if got := len(text(r, size)); got != size {
			t.Errorf("text(%d) has %d characters", size, got)
		}
	}
	if s := secret("s", r); len(s.Data[corev1.BasicAuthPasswordKey]) != 48 {
		t.Errorf("secret data = %v", s.Data)
	}
}
