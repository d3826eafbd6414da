package maintain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

const (
	// assumedSpeed is what a disk is taken to write where nothing tells: less than the slowest
	// of ours did, 291 MB in 11 s. Ours.
	assumedSpeed = 20 << 20
	// shortestPause is that of an empty database: files are made and renamed. Ours.
	shortestPause = 100 * time.Millisecond
	// longPause is from where on a pause is worth a warning: etcd gives up a request after 5 s
	// and two election timeouts (server/v3 config, ReqTimeout).
	longPause = 5 * time.Second
	// recent is how old a backup may be that counts as recent. Ours.
	recent = time.Hour
)

// PlanDefrag says who is defragmented in which order, what that gains and costs, and why not.
func PlanDefrag(facts DefragFacts, options DefragOptions) DefragPlan {
	p := planner{facts: facts, options: options}
	p.plan = DefragPlan{Members: memberIDs(facts.Overview), Force: options.Force}
	p.plan.Refusals = unwell(facts.Overview)
	leader, _ := leaderOf(facts.Overview)
	p.plan.Leader = leader.ID()
	p.choose()
	if !p.plan.Empty() {
		p.locked()
		p.margin()
		for _, step := range p.plan.Steps {
			p.judge(step)
		}
		p.warnOfBackup()
		p.moveLeader()
	}
	p.disarm()
	if p.plan.Empty() && p.allAnswered() {
		p.plan.Refusals = nil // there is nothing to refuse
	}
	return p.plan
}

func (p *planner) locked() {
	if left := p.facts.Locked; left > 0 {
		p.refuse("wait for its end; a run that was killed keeps others away for at most 2m", "%s (its lock lasts %s)", ErrLocked, left.Round(time.Second))
	}
}

type planner struct {
	facts   DefragFacts
	options DefragOptions
	plan    DefragPlan
}

// allAnswered: that nobody needs it is known of every voter.
func (p *planner) allAnswered() bool {
	members := p.facts.Overview.Members
	return len(p.plan.Members) > 0 && !slices.ContainsFunc(members, func(v etcd.MemberView) bool {
		return v.Member != nil && !isLearner(v) && v.Status == nil
	})
}

func (p *planner) refuse(instead, format string, args ...any) {
	p.plan.Refusals = append(p.plan.Refusals, Refusal{fmt.Sprintf(format, args...), instead})
}

func (p *planner) warn(format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(format, args...))
}

func (p *planner) skip(view etcd.MemberView, why string) {
	p.plan.Skipped = append(p.plan.Skipped, SkippedMember{nameOf(view), why})
}

// choose takes the members that are worth it: followers first, the most fragmented before the
// others, so that what is gained most is gained should it end early.
func (p *planner) choose() {
	worth := 0
	for _, view := range p.facts.Overview.Members {
		switch {
		case view.Member == nil:
			p.skip(view, "it is in no member list")
		case p.planned(view.ID()):
			p.skip(view, "it is a member that is there already, by another way")
		case isLearner(view):
			p.skip(view, "etcd does not defragment learners")
		case view.Status == nil: // refused already
			p.skip(view, "it does not answer")
		default:
			step := p.step(view)
			good := p.options.Rule.worth(step)
			if good {
				worth++
			}
			if p.options.ByRule && !good {
				p.skip(view, fmt.Sprintf("not worth it: %.0f%% free, %s", 100*step.Fragmentation, humanBytes(step.Free)))
				continue
			}
			p.plan.Steps = append(p.plan.Steps, step)
			p.plan.Gain += step.Free
		}
	}
	if worth == 0 && !p.plan.Empty() {
		p.warn("no member needs it: etcd uses free pages again; --auto goes by what is worth it")
	}
	slices.SortStableFunc(p.plan.Steps, func(a, b DefragStep) int {
		if a.Leader != b.Leader {
			return cmp.Compare(toInt(a.Leader), toInt(b.Leader))
		}
		return cmp.Compare(b.Fragmentation, a.Fragmentation)
	})
}

func (p *planner) planned(id etcd.ID) bool {
	return slices.ContainsFunc(p.plan.Steps, func(s DefragStep) bool { return s.ID == id })
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (p *planner) step(view etcd.MemberView) DefragStep {
	s := view.Status
	step := DefragStep{
		Action: ActionDefrag, Member: nameOf(view), ID: s.MemberID, Leader: s.MemberID == p.plan.Leader,
		DBSize: s.DBSize, DBSizeInUse: s.DBSizeInUse, Free: s.DBSize - min(s.DBSizeInUse, s.DBSize),
	}
	if s.DBSize > 0 {
		step.Fragmentation = float64(step.Free) / float64(s.DBSize)
	}
	if view.Quota > 0 {
		step.QuotaUsage = float64(s.DBSize) / float64(view.Quota)
	}
	around := p.facts.Around[step.ID]
	switch {
	case p.options.Speed > 0:
		step.speed, step.PauseFrom = p.options.Speed, "the speed that was given"
	case around.Speed > 0:
		step.speed, step.PauseFrom = around.Speed, around.SpeedFrom
	default:
		step.speed, step.PauseFrom = assumedSpeed, fmt.Sprintf("assumed: %s a second", humanBytes(assumedSpeed))
	}
	step.Pause, step.Limit = step.reckon(step.speed), around.Liveness/2
	if given := p.options.MaxPause; given > 0 && (step.Limit == 0 || given < step.Limit) {
		step.Limit = given
	}
	return step
}

// margin refuses where the pause of one member stops etcd.
func (p *planner) margin() {
	voters := p.facts.Overview.Verdict.Voters
	switch {
	case p.options.Force || voters > 2:
	case voters == 1:
		p.refuse("--force, when nobody needs it for that long", "it is a single member: etcd answers nothing for about %s", humanPause(p.longest()))
	default:
		p.refuse("--force, when nobody needs it for that long", "with %d voters none can be spared: etcd may take no writes for about %s", voters, humanPause(p.longest()))
	}
}

func (p *planner) longest() (longest time.Duration) {
	for _, step := range p.plan.Steps {
		longest = max(longest, step.Pause)
	}
	return longest
}

// limitFrom is whose limit a pause has.
const limitFrom = "half of what its liveness probe bears before it ends it in the middle, or --max-pause"

// judge looks at one member.
func (p *planner) judge(step DefragStep) {
	view, _ := find(p.facts.Overview, step.ID)
	around := p.facts.Around[step.ID]
	if before(view.Status.Version, 5, 6) {
		p.refuse("upgrade it, or run etcdutl defrag on its data directory while it is stopped",
			"%s runs etcd %s: before 3.5.6 one that ends in the middle may leave a damaged database", step.Member, view.Status.Version)
	}
	if step.Limit > 0 && step.Pause > step.Limit {
		p.refuse("say how fast its disk is where you know it (--disk-speed 200MiB), or raise the failureThreshold of its liveness probe meanwhile",
			"%s would answer nothing for about %s (%s), and at most %s are borne (%s)", step.Member, humanPause(step.Pause), step.PauseFrom, humanPause(step.Limit), limitFrom)
	}
	if around.DiskFree != nil && *around.DiskFree < step.DBSizeInUse {
		p.refuse("make room there first", "the disk of %s has %s free, and the new database needs %s beside the old one", step.Member, humanBytes(*around.DiskFree), humanBytes(step.DBSizeInUse))
	}
	for _, busy := range around.Busy {
		p.refuse("wait until that is over", "%s %s", step.Member, busy)
	}
	if around.Unseen != "" {
		p.warn("whether %s streams a snapshot is not known: %s; its pause would last as long as that", step.Member, around.Unseen)
	}
	pause := fmt.Sprintf("for about %s (%s)", humanPause(step.Pause), step.PauseFrom)
	switch servers := strings.Join(around.APIServers, ", "); {
	case around.Ours:
		p.warn("%s is the only member that the API server you are talking to uses (%s): it hangs %s", step.Member, servers, pause)
	case servers != "":
		p.warn("%s is the only member that an API server uses (%s): that one hangs %s", step.Member, servers, pause)
	case step.Pause > longPause:
		p.warn("requests through %s fail meanwhile: it answers nothing %s", step.Member, pause)
	}
}

func (p *planner) warnOfBackup() {
	b := p.facts.Backup
	switch age := p.facts.At.Sub(b.Newest); {
	case b.Because != "":
		p.warn("whether there is a recent backup is not known: %s", b.Because)
	case b.Newest.IsZero():
		p.warn("there is no backup")
	case age > recent:
		p.warn("the newest backup is %s old", age.Round(time.Minute))
	}
}

// moveLeader puts a change of leadership before the leader's turn.
func (p *planner) moveLeader() {
	last := len(p.plan.Steps) - 1
	if last < 0 || !p.plan.Steps[last].Leader || p.facts.Overview.Verdict.Voters < 2 {
		return
	}
	own := p.plan.Steps[last]
	to, ok := fittest(p.facts.Overview, p.plan.Leader) // all others had their turn, or need none
	if !ok {
		p.refuse("kubectl etcd status", "no voter is fit to take the leadership over from %s", own.Member)
		return
	}
	move := DefragStep{Action: ActionMove, Member: own.Member, ID: own.ID, To: nameOf(to), ToID: to.ID()}
	p.plan.Steps = slices.Insert(p.plan.Steps, last, move)
}

// quicker orders members by what they have to catch up, then by how fast they answer.
func quicker(a, b etcd.MemberView) int {
	return cmp.Or(cmp.Compare(*a.Lag, *b.Lag), cmp.Compare(a.Status.Latency, b.Status.Latency), cmp.Compare(a.Name, b.Name))
}

// disarm ends with NOSPACE, where it is raised: once there is room, writes are to go on.
func (p *planner) disarm() {
	switch {
	case len(alarmsOf(p.facts.Overview, NoSpace)) == 0:
	case p.plan.Empty():
		p.warn("NOSPACE is raised, and no member has room to give back: kubectl etcd alarm disarm says what comes first")
	default:
		p.plan.Steps = append(p.plan.Steps, DefragStep{Action: ActionDisarm})
	}
}

// memberIDs are those of the member list, sorted.
func memberIDs(overview etcd.Overview) (ids []etcd.ID) {
	for _, view := range overview.Members {
		if view.Member != nil {
			ids = append(ids, view.Member.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids) // one may be reached by two ways
}
