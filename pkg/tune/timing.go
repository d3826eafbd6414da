package tune

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

const (
	defaultHeartbeat = 100 * time.Millisecond
	defaultElection  = time.Second
	// maxElection is the most that etcd starts with (server/v3 embed, maxElectionMs).
	maxElection = 50 * time.Second
	// minRatio of election to heartbeat is the least that etcd starts with (embed Config.Validate).
	minRatio = 5
	// ratio is the documented one: election-timeout "must be at least 10 times the round-trip
	// time" (etcd.io/docs, tuning).
	ratio = 10
)

// Timing is a pair of heartbeat-interval and election-timeout.
type Timing struct {
	Heartbeat time.Duration `json:"heartbeatInterval"`
	Election  time.Duration `json:"electionTimeout"`
}

// Validate tells why etcd would not start with it.
func (t Timing) Validate() error {
	switch {
	case t.Heartbeat < time.Millisecond || t.Election < time.Millisecond:
		return fmt.Errorf("heartbeat-interval %s and election-timeout %s must both be at least 1", flagMillis(t.Heartbeat), flagMillis(t.Election))
	case minRatio*t.Heartbeat > t.Election:
		return fmt.Errorf("election-timeout %s is less than 5 times heartbeat-interval %s", flagMillis(t.Election), flagMillis(t.Heartbeat))
	case t.Election > maxElection:
		return fmt.Errorf("election-timeout %s is more than 50000", flagMillis(t.Election))
	}
	return nil
}

// effective is the election timeout that etcd counts with: whole heartbeats (embed
// Config.ElectionTicks).
func (t Timing) effective() time.Duration {
	return t.Election / t.Heartbeat * t.Heartbeat
}

// recommend is the timing for the longest round trip between voters and the slowest p99
// fsync. The heartbeat follows the round trip ("around the maximum of average round-trip
// time"), but is not less than half an fsync: a leader whose heartbeat is two intervals late
// counts as slow (etcd_server_heartbeat_send_failures_total). The election timeout is ten
// times what a commit takes. Below etcd's defaults nothing is won but CPU lost.
func recommend(rtt, fsync time.Duration) Timing {
	heartbeat := max(defaultHeartbeat, ceilTo(max(rtt, fsync/2), 10*time.Millisecond))
	election := ceilTo(max(defaultElection, ratio*heartbeat, ratio*(rtt+fsync)), heartbeat)
	return Timing{heartbeat, election}
}

// suits tells whether a timing is good enough to be left alone.
func (t Timing) suits(rtt, fsync time.Duration) bool {
	if t.Validate() != nil {
		return false
	}
	near := 2*t.Heartbeat >= rtt && t.Heartbeat <= max(defaultHeartbeat, rtt+rtt/2)
	return near && t.effective() >= ratio*(rtt+fsync)
}

// Effects are what follows from an election timeout, besides elections.
type Effects struct {
	RequestTimeout  time.Duration `json:"requestTimeout"`  // a request that waits longer fails
	PeerDialTimeout time.Duration `json:"peerDialTimeout"` // for a connection to another member
	MinLeaseTTL     time.Duration `json:"minLeaseTTL"`     // shorter leases are made this long
	FailoverMin     time.Duration `json:"failoverMin"`     // without a leader, from its last sign of life on,
	FailoverMax     time.Duration `json:"failoverMax"`     // to the election; each member draws its own time
}

// effects are as etcd computes them (server/v3 config ReqTimeout, peerDialTimeout;
// etcdserver NewServer, minTTL in whole heartbeats, then whole seconds; raft draws each
// timeout from one to two times the election timeout).
func (t Timing) effects() Effects {
	election := t.effective()
	leaseTicks := 3 * int(t.Election/t.Heartbeat) / 2
	lease := time.Duration(leaseTicks) * t.Heartbeat
	return Effects{
		RequestTimeout:  5*time.Second + 2*election,
		PeerDialTimeout: time.Second + election,
		MinLeaseTTL:     time.Duration(math.Ceil(lease.Seconds())) * time.Second,
		FailoverMin:     election, FailoverMax: 2 * election,
	}
}

// ceilTo rounds up to a multiple of step.
func ceilTo(d, step time.Duration) time.Duration { return (d + step - 1) / step * step }

// flagMillis is how etcd's flags take a time: a number of milliseconds.
func flagMillis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// timingOf reads the two flags' values.
func timingOf(heartbeat, election string) (Timing, error) {
	h, err := parseMillis("heartbeat-interval", heartbeat)
	if err != nil {
		return Timing{}, err
	}
	e, err := parseMillis("election-timeout", election)
	if err != nil {
		return Timing{}, err
	}
	t := Timing{h, e}
	return t, t.Validate()
}

func parseMillis(flag, text string) (time.Duration, error) {
	n, err := strconv.ParseUint(text, 0, 31)
	if err != nil {
		return 0, fmt.Errorf("%s %q is no number of milliseconds", flag, text)
	}
	return time.Duration(n) * time.Millisecond, nil
}

// say is a duration for people, in no more digits than were measured.
func say(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	default:
		d = d.Round(time.Millisecond)
	}
	return d.String()
}
