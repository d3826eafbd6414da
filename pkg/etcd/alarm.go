package etcd

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
)

// statusAlarm is an alarm as Status.Errors has it: "memberID:123 alarm:NOSPACE". One of
// member 0 has no member in it.
var statusAlarm = regexp.MustCompile(`^\s*(?:memberID:\s*(\d+)\s+)?alarm:\s*(\w+)`)

// Alarms are the cluster's as Errors tells of them: there also without quorum, when
// AlarmList is not.
func (s Status) Alarms() []Alarm {
	var alarms []Alarm
	for _, text := range s.Errors {
		if match := statusAlarm.FindStringSubmatch(text); match != nil {
			id, _ := strconv.ParseUint(match[1], 10, 64) // without one: 0
			alarms = append(alarms, Alarm{MemberID: ID(id), Type: match[2]})
		}
	}
	return alarms
}

// mergeAlarms is every alarm that anybody told of, by member; 0 is the whole cluster.
func mergeAlarms(readings []reading) map[ID][]string {
	merged := map[ID][]string{}
	add := func(alarms []Alarm) {
		for _, alarm := range alarms {
			id := alarm.MemberID
			if !slices.Contains(merged[id], alarm.Type) {
				merged[id] = append(merged[id], alarm.Type)
				slices.Sort(merged[id])
			}
		}
	}
	for _, r := range readings {
		add(r.alarms)
		if r.status != nil {
			add(r.status.Alarms())
		}
	}
	return merged
}

// unclaimedAlarms are those of no row, by member and type: etcd obeys them all the same.
func unclaimedAlarms(alarms map[ID][]string, views []MemberView) []Alarm {
	var unclaimed []Alarm
	for id, types := range alarms {
		if id != 0 && slices.ContainsFunc(views, func(v MemberView) bool { return v.ID() == id }) {
			continue
		}
		for _, alarm := range types {
			unclaimed = append(unclaimed, Alarm{MemberID: id, Type: alarm})
		}
	}
	slices.SortFunc(unclaimed, func(a, b Alarm) int {
		return cmp.Or(cmp.Compare(a.MemberID, b.MemberID), cmp.Compare(a.Type, b.Type))
	})
	return unclaimed
}
