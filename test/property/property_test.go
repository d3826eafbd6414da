package property

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd/etcdtest"
)

// TestRandomWork does so with as many seeds as SEEDS tells (10), from SEED on, one and three
// members in turn.
func TestRandomWork(t *testing.T) {
	seeds, first := number(t, "SEEDS", 10), uint64(number(t, "SEED", int(time.Now().UnixNano()%1_000_000)))
	for i := range uint64(seeds) {
		seed := first + i
		members := 1 + 2*int(i%2)
		t.Run(fmt.Sprintf("seed %d, %d members", seed, members), func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, members, etcdtest.Options{})
			Run(t, cluster.Clients(), seed)
		})
	}
}

func number(t *testing.T, name string, without int) int {
	text := os.Getenv(name)
	if text == "" {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, text, err)
	}
	return n
}
