package etcd

import (
	"fmt"
	"strings"
)

const (
	// quotaWarning is the share of its quota from which a database is a warning (rules H21).
	quotaWarning = 0.85
	// maxQuota is the quota above which etcd itself warns (server/v3 embed MaxQuotaBytes).
	maxQuota = 8 << 30
)

// judge grades an overview whose Members are complete.
func judge(o Overview) Verdict {
	j := judgement{Verdict: Verdict{Level: LevelOK}}
	j.count(o.Members)
	j.leader = j.findLeader(o.Members)
	if o.Disagree {
		j.critical("the members disagree about the cluster's members")
	}
	j.judgeQuorum()
	j.judgeAlarms(o.Alarms)
	for _, member := range o.Members {
		j.judgeMember(member)
	}
	j.judgeCertificates(o.Members, o.At)
	j.Summary = j.summarize()
	return j.Verdict
}

// judgement is a verdict that is being made.
type judgement struct {
	Verdict
	leader  string // its name; empty: none
	reached bool   // some voter answered
	passed  bool   // a linearizable read through one passed
	open    int    // voters that answered, where a linearizable read neither passed nor failed
}

func (j *judgement) critical(format string, args ...any) { j.note(LevelCritical, format, args...) }

func (j *judgement) warn(format string, args ...any) {
	level := LevelWarning
	if j.Level == LevelCritical {
		level = LevelCritical
	}
	j.note(level, format, args...)
}

func (j *judgement) note(level Level, format string, args ...any) {
	j.Level = level
	j.Reasons = append(j.Reasons, fmt.Sprintf(format, args...))
}

// count counts every voter once: those of the list, or, where no list could be
// read, whoever was asked.
func (j *judgement) count(members []MemberView) {
	seen := map[ID]bool{}
	listed := false
	for _, m := range members {
		listed = listed || m.Member != nil
	}
	for _, m := range members {
		if m.learner() || (listed && m.Member == nil) || (m.ID() != 0 && seen[m.ID()]) {
			continue
		}
		seen[m.ID()] = true
		j.Voters++
		if m.Healthy {
			j.Healthy++
		}
		j.countRead(m)
	}
	j.Quorum = j.Voters/2 + 1
	j.HasQuorum = j.hasQuorum()
	if j.passed {
		spare := max(j.Healthy-j.Quorum, 0)
		j.CanLose = &spare
	}
}

func (j *judgement) countRead(m MemberView) {
	switch {
	case m.Status == nil:
		return
	case m.passed:
		j.passed = true
	case !m.failed:
		j.open++
	}
	j.reached = true
}

// hasQuorum goes by linearizable reads alone: one that passed went through a quorum. Nil
// where a quorum of voters answers and their reads are only late.
func (j *judgement) hasQuorum() *bool {
	if !j.passed && (!j.reached || j.open >= j.Quorum) {
		return nil
	}
	has := j.passed
	return &has
}

// findLeader is the leader's name at the highest term that anybody is at.
func (j *judgement) findLeader(members []MemberView) string {
	var term uint64
	for _, m := range members {
		if m.Status != nil {
			term = max(term, m.Status.RaftTerm)
		}
	}
	leaders := map[ID]bool{}
	var leader ID
	for _, m := range members {
		if m.Status != nil && m.Status.Leader != 0 && m.Status.RaftTerm == term {
			leader = m.Status.Leader
			leaders[leader] = true
		}
	}
	switch {
	case len(leaders) > 1:
		j.critical("%d members are called leader at term %d", len(leaders), term)
	case leader == 0:
		if j.reached {
			j.critical("no member knows a leader")
		}
		return ""
	}
	return nameOf(members, leader)
}

func nameOf(members []MemberView, id ID) string {
	for _, m := range members {
		if m.ID() == id {
			return m.Name
		}
	}
	return id.String()
}

func (j *judgement) judgeQuorum() {
	switch {
	case j.HasQuorum == nil && j.reached:
		j.critical("linearizable reads do not come back in time: whether etcd has quorum is not known")
	case j.HasQuorum == nil:
		j.critical("no member could be reached: whether etcd has quorum is not known")
	case !*j.HasQuorum:
		j.critical("quorum is lost: %d of %d voters healthy, %d needed", j.Healthy, j.Voters, j.Quorum)
	case j.Healthy < j.Quorum:
		j.warn("a linearizable read passed, so there is quorum, but only %d of %d voters could be reached healthy", j.Healthy, j.Voters)
	case *j.CanLose == 0 && j.Voters > 1:
		j.warn("no further member may fail: %d of %d voters healthy, %d needed", j.Healthy, j.Voters, j.Quorum)
	}
	if j.Voters > 0 && j.Voters%2 == 0 {
		j.warn("%d voters: an even number bears no more failures than one less", j.Voters)
	}
}

// judgeAlarms judges those of no row. etcd refuses writes for them as for any other
// (server/v3 etcdserver/apply, uberApplier).
func (j *judgement) judgeAlarms(alarms []Alarm) {
	for _, alarm := range alarms {
		if alarm.MemberID == 0 {
			j.critical("the cluster has the alarm %s (of no known member)", alarm.Type)
		} else {
			j.critical("the cluster has the alarm %s (of member %s, which is none of these)", alarm.Type, alarm.MemberID)
		}
	}
}

func (j *judgement) judgeMember(m MemberView) {
	for _, alarm := range m.Alarms {
		j.critical("%s has the alarm %s", m.Name, alarm)
	}
	switch {
	case m.unstarted():
		j.warn("%s was added but never started", m.Name)
	case m.Status == nil:
		j.warn("%s does not answer: %s", m.Name, m.Error)
	case m.Member == nil && !m.learner():
		j.warn("%s is in no member list", m.Name)
	case !m.Healthy && m.Error != "":
		j.warn("%s is not healthy: %s", m.Name, m.Error)
	}
	if m.Status == nil || m.Quota <= 0 {
		return
	}
	if share := float64(m.Status.DBSize) / float64(m.Quota); share > quotaWarning {
		j.warn("%s uses %.0f%% of its quota", m.Name, share*100)
	}
	if m.Quota > maxQuota {
		j.warn("%s has a quota of %.1f GiB, more than the 8 GiB that etcd is made for", m.Name, float64(m.Quota)/(1<<30))
	}
}

// summarize is one line: "3 of 3 members healthy, leader etcd-a, quorum 2, can lose 1".
func (j *judgement) summarize() string {
	if !j.reached {
		return fmt.Sprintf("none of %d members could be reached, quorum unknown", j.Voters)
	}
	parts := []string{fmt.Sprintf("%d of %d members healthy", j.Healthy, j.Voters)}
	if j.leader == "" {
		parts = append(parts, "no leader")
	} else {
		parts = append(parts, "leader "+j.leader)
	}
	switch {
	case j.HasQuorum == nil:
		parts = append(parts, "quorum unknown")
	case !*j.HasQuorum:
		parts = append(parts, fmt.Sprintf("quorum %d is lost", j.Quorum))
	case j.Voters == 1:
		parts = append(parts, "no redundancy")
	default:
		parts = append(parts, fmt.Sprintf("quorum %d, can lose %s", j.Quorum, orNone(*j.CanLose)))
	}
	return strings.Join(parts, ", ")
}

func orNone(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}
