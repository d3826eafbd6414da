package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Ctl reads a member through etcdctl: Run runs it with args appended and returns
// its standard output. It reads the JSON of etcdctl 3.4 to 3.7.
type Ctl struct {
	Run func(ctx context.Context, args ...string) ([]byte, error)
}

// Status runs `endpoint status -w json`. Its Latency is 0: what an exec takes
// tells nothing of the member.
func (c *Ctl) Status(ctx context.Context) (Status, error) {
	var answers []struct {
		Endpoint string
		Status   *ctlStatus
	}
	if err := c.read(ctx, &answers, "endpoint", "status"); err != nil {
		return Status{}, err
	}
	if len(answers) != 1 || answers[0].Status == nil {
		return Status{}, fmt.Errorf("etcdctl endpoint status: %d answers, want one", len(answers))
	}
	return answers[0].Status.status(time.Now()), nil
}

// Members runs `member list -w json`, serializable where etcdctl can (from 3.6 on).
func (c *Ctl) Members(ctx context.Context) ([]Member, error) {
	var answer struct{ Members []ctlMember }
	err := c.read(ctx, &answer, "member", "list", "--consistency=s")
	if err != nil && strings.Contains(err.Error(), "unknown flag") {
		err = c.read(ctx, &answer, "member", "list")
	}
	if err != nil {
		return nil, err
	}
	members := make([]Member, len(answer.Members))
	for i, m := range answer.Members {
		members[i] = Member{ID: ID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner}
	}
	return members, nil
}

// Alarms runs `alarm list -w json`.
func (c *Ctl) Alarms(ctx context.Context) ([]Alarm, error) {
	var answer struct{ Alarms []ctlAlarm }
	if err := c.read(ctx, &answer, "alarm", "list"); err != nil {
		return nil, err
	}
	alarms := make([]Alarm, len(answer.Alarms))
	for i, a := range answer.Alarms {
		alarms[i] = Alarm{MemberID: ID(a.MemberID), Type: string(a.Alarm)}
	}
	return alarms, nil
}

// Health runs `endpoint health -w json`: its linearizable read counts. That etcdctl
// calls a member with an alarm unhealthy does not: alarms are read for themselves.
func (c *Ctl) Health(ctx context.Context) error {
	var answers []struct {
		Health bool
		Error  string
	}
	if err := c.read(ctx, &answers, "endpoint", "health"); err != nil {
		return err
	}
	if len(answers) != 1 {
		return fmt.Errorf("etcdctl endpoint health: %d answers, want one", len(answers))
	}
	answer := answers[0]
	if answer.Health || ctlReadPassed(answer.Error) {
		return nil
	}
	if answer.Error == context.DeadlineExceeded.Error() { // etcdctl's own, --command-timeout
		return fmt.Errorf("linearizable read: %w", context.DeadlineExceeded)
	}
	return fmt.Errorf("linearizable read: %s", answer.Error)
}

// ctlReadPassed knows the errors that etcdctl sets after its read has passed: it asks for
// alarms then (etcdctl/ctlv3/command, epHealthCommandFunc). And see Client.Health.
func ctlReadPassed(text string) bool {
	return strings.HasPrefix(text, "Active Alarm(s)") || text == "Unable to fetch the alarm list" ||
		text == rpctypes.ErrUserEmpty.Error()
}

// read decodes what etcdctl prints. It may print an answer and end with an error,
// as endpoint health does: then the answer counts.
func (c *Ctl) read(ctx context.Context, into any, args ...string) error {
	what := "etcdctl " + strings.Join(args, " ")
	out, runErr := c.Run(ctx, append(args, "-w", "json")...)
	out = bytes.TrimSpace(out)
	if runErr != nil && (len(out) == 0 || string(out) == "null") {
		return fmt.Errorf("%s: %w", what, runErr)
	}
	if err := json.Unmarshal(out, into); err != nil {
		return errors.Join(fmt.Errorf("%s: decode answer: %w", what, err), runErr)
	}
	return nil
}

// ctlStatus is the Status of `endpoint status -w json`: etcd's StatusResponse, whose
// fields came one by one (isLearner 3.4, storageVersion and dbSizeQuota 3.6).
type ctlStatus struct {
	Header struct {
		ClusterID ctlNumber `json:"cluster_id"`
		MemberID  ctlNumber `json:"member_id"`
		Revision  int64     `json:"revision"`
	} `json:"header"`
	Version          string    `json:"version"`
	DBSize           int64     `json:"dbSize"`
	DBSizeInUse      int64     `json:"dbSizeInUse"`
	DBSizeQuota      int64     `json:"dbSizeQuota"`
	Leader           ctlNumber `json:"leader"`
	RaftIndex        ctlNumber `json:"raftIndex"`
	RaftTerm         ctlNumber `json:"raftTerm"`
	RaftAppliedIndex ctlNumber `json:"raftAppliedIndex"`
	Errors           []string  `json:"errors"`
	IsLearner        bool      `json:"isLearner"`
	StorageVersion   string    `json:"storageVersion"`
}

func (s *ctlStatus) status(at time.Time) Status {
	return Status{
		ClusterID:      ID(s.Header.ClusterID),
		MemberID:       ID(s.Header.MemberID),
		Leader:         ID(s.Leader),
		Learner:        s.IsLearner,
		Version:        s.Version,
		StorageVersion: s.StorageVersion,
		Revision:       s.Header.Revision,
		RaftTerm:       uint64(s.RaftTerm),
		RaftIndex:      uint64(s.RaftIndex),
		RaftApplied:    uint64(s.RaftAppliedIndex),
		DBSize:         s.DBSize,
		DBSizeInUse:    s.DBSizeInUse,
		DBSizeQuota:    s.DBSizeQuota,
		Errors:         s.Errors,
		At:             at,
	}
}

type ctlMember struct {
	ID         ctlNumber `json:"ID"`
	Name       string    `json:"name"`
	PeerURLs   []string  `json:"peerURLs"`
	ClientURLs []string  `json:"clientURLs"`
	IsLearner  bool      `json:"isLearner"`
}

type ctlAlarm struct {
	MemberID ctlNumber    `json:"memberID"`
	Alarm    ctlAlarmType `json:"alarm"`
}

// ctlNumber is an unsigned 64-bit number, beyond what a float64 holds. A quoted
// one, as protobuf's own JSON has it, is decimal as well.
type ctlNumber uint64

func (n *ctlNumber) UnmarshalJSON(text []byte) error {
	value, err := strconv.ParseUint(strings.Trim(string(text), `"`), 10, 64)
	if err != nil {
		return fmt.Errorf("parse number %s: %w", text, err)
	}
	*n = ctlNumber(value)
	return nil
}

// ctlAlarmType is etcdserverpb.AlarmType by its number or its name.
type ctlAlarmType string

func (t *ctlAlarmType) UnmarshalJSON(text []byte) error {
	switch name := strings.Trim(string(text), `"`); name {
	case "0":
		*t = "NONE"
	case "1":
		*t = "NOSPACE"
	case "2":
		*t = "CORRUPT"
	default:
		*t = ctlAlarmType(name)
	}
	return nil
}
