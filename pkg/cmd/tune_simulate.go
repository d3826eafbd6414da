package cmd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/tune"
)

// simulation is a cluster that somebody thinks of.
type simulation struct {
	RTT     time.Duration            `json:"rtt"`
	Fsync   tune.Fact[time.Duration] `json:"fsyncP99"`
	Members int                      `json:"members"`
	Version string                   `json:"version"`
}

// maxSimulated is more members than etcd is ever good with.
const maxSimulated = 99

func parseSimulation(text string) (simulation, error) {
	sim := simulation{RTT: -1, Fsync: tune.Unknown[time.Duration]("--simulate says no fsync"), Members: 3, Version: "3.7"}
	given := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return simulation{}, fmt.Errorf("%q is not like rtt=130ms", part)
		}
		if given[key] {
			return simulation{}, fmt.Errorf("%s is there twice", key)
		}
		given[key] = true
		if err := sim.set(key, value); err != nil {
			return simulation{}, err
		}
	}
	if !given["rtt"] {
		return simulation{}, errors.New("rtt is missing, the longest round trip between two members: rtt=130ms")
	}
	return sim, nil
}

func (s *simulation) set(key, value string) (err error) {
	switch key {
	case "rtt":
		s.RTT, err = parseLatency(key, value)
	case "fsync":
		var fsync time.Duration
		fsync, err = parseLatency(key, value)
		s.Fsync = tune.Known(fsync)
	case "members":
		s.Members, err = strconv.Atoi(value)
		if err != nil || s.Members < 1 || s.Members > maxSimulated {
			return fmt.Errorf("members=%s is no number from 1 to %d", value, maxSimulated)
		}
	default:
		return fmt.Errorf("%q is none of rtt, fsync, members", key)
	}
	return err
}

// maxLatency is where a figure is a slip of the hand: etcd gives up at a tenth of it.
const maxLatency = time.Minute

func parseLatency(key, value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil {
		return 0, fmt.Errorf("%s=%s is no time like 8ms or 1.5s", key, value)
	}
	if d < 0 || d > maxLatency {
		return 0, fmt.Errorf("%s=%s is not between 0 and %s", key, value, maxLatency)
	}
	return d, nil
}

// facts are a new control plane's, as kubeadm starts it (kubernetes' cmd/kubeadm/app/phases/etcd/local.go).
func (s simulation) facts() tune.Facts {
	f := tune.Facts{Kubernetes: tune.Known(true), Compaction: tune.Known(5 * time.Minute)}
	for i := range s.Members {
		name := fmt.Sprintf("m%d", i+1)
		for _, other := range f.Members {
			f.RTTs = append(f.RTTs, tune.RTT{From: other.Name, To: name, P50: tune.Known(s.RTT), P99: tune.Unknown[time.Duration]("simulated"), Method: tune.MethodSimulated})
		}
		f.Members = append(f.Members, tune.Member{
			Name: name, Leader: i == 0, Version: s.Version, Fsync: s.Fsync,
			Commit: tune.Unknown[time.Duration]("simulated"), DBSize: tune.Known(int64(0)),
			Settings: tune.Settings{
				"snapshot-count":                 {Value: "10000", From: tune.FromFlag},
				"feature-gates":                  {Value: "InitialCorruptCheck=true", From: tune.FromFlag},
				"listen-metrics-urls":            {Value: "http://127.0.0.1:2381", From: tune.FromFlag},
				"watch-progress-notify-interval": {Value: "5s", From: tune.FromFlag},
			},
		})
	}
	return f
}
