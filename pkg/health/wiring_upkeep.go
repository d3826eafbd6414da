package health

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// judgeBackups goes by the archive that was given, else by what is in the cluster.
func judgeBackups(f *Facts, limits Limits, o *outcome) {
	archive := f.Archive.Value
	switch {
	case !f.Archive.Known():
		o.unknown("archive", f.Archive.Because)
		f.judgeJobs(limits, o)
	case archive.LastCapture.IsZero():
		o.warn("archive %s holds no moment of this etcd that can be restored", archive.Location)
		f.judgeJobs(limits, o)
	default:
		f.judgeArchive(archive, limits, o)
	}
}

func (f *Facts) judgeArchive(archive Archive, limits Limits, o *outcome) {
	age := f.At.Sub(archive.LastCapture)
	o.graded(age.Seconds(), limits.at("backup-age"), limits.at("backup-age-critical"),
		"the newest moment in archive %s is %s ago", archive.Location, inWords(age))
	if archive.LastVerify.IsZero() {
		o.info("archive %s was never read back", archive.Location)
		if !o.level.AtLeast(Warning) {
			o.mend("kubectl etcd verify --archive %s", archive.Location)
		}
		return
	}
	o.shows("read back %s ago", inWords(f.At.Sub(archive.LastVerify)))
}

func (f *Facts) judgeJobs(limits Limits, o *outcome) {
	k := f.Kubernetes
	switch {
	case k == nil:
		o.unknown("backup jobs", f.WithoutKubernetes)
	case k.Serves == "":
		o.unknown("backup jobs", foreignEtcd) // which of them are for it can't be told
	case !k.Jobs.Known():
		o.unknown("backup jobs", k.Jobs.Because)
	case len(k.Jobs.Value) > 0:
		for _, job := range k.Jobs.Value {
			judgeJob(job, f.At, limits, o)
		}
	default:
		sayNoBackup(k, o)
	}
}

func sayNoBackup(k *Kubernetes, o *outcome) {
	o.shows("cron jobs of nodes, and Velero, can't be seen from here")
	if k.Serves == "events" {
		o.info("no backup of it was found: what is lost with it are events")
		return
	}
	o.warn("no backup was found")
}

func judgeJob(job BackupJob, at time.Time, limits Limits, o *outcome) {
	name := job.Kind + " " + job.Namespace + "/" + job.Name
	if job.LastSuccess.IsZero() {
		o.warn("%s has never succeeded", name)
		return
	}
	age := at.Sub(job.LastSuccess)
	if job.Every == 0 {
		o.graded(age.Seconds(), limits.at("backup-age"), limits.at("backup-age-critical"),
			"%s succeeded %s ago, and how often it is due is not known", name, inWords(age))
		return
	}
	o.graded(age.Seconds()/job.Every.Seconds(), limits.at("backup-late"), limits.at("backup-late-critical"),
		"%s succeeded %s ago, and is due every %s", name, inWords(age), inWords(job.Every))
}

// inWords is d as exactly as people need it.
func inWords(d time.Duration) string {
	if d >= time.Hour {
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.Round(time.Second).String()
}

func judgePods(f *Facts, limits Limits, o *outcome) {
	if f.wired(o) == nil {
		return
	}
	seen := 0
	for _, m := range f.Members {
		if m.Pod == nil {
			o.unknown(m.Name(), "its pod is not known")
			continue
		}
		seen++
		judgePriority(m, o)
		judgeEnd(m, f.At, limits.seconds("restart-window"), o)
		if m.Pod.CPURequest > 0 {
			o.shows("%s requests %g of a core (kubeadm: 0.1)", m.Name(), m.Pod.CPURequest)
		}
	}
	if seen > 0 {
		o.ok("%s: none ended of late, and none gives way to others", plural(seen, "pod"))
	}
}

func judgePriority(m Member, o *outcome) {
	if slices.Contains([]string{"system-node-critical", "system-cluster-critical"}, m.Pod.PriorityClass) {
		return
	}
	o.warn("%s has priority class %s: it may give way to other pods", m.Name(), cmp.Or(m.Pod.PriorityClass, "none"))
	o.mend("priorityClassName: system-node-critical in the pod's spec")
}

func judgeEnd(m Member, at time.Time, window time.Duration, o *outcome) {
	pod := m.Pod
	switch {
	case pod.LastEnd.IsZero() && pod.Restarts > 0:
		o.shows("%s has %s; when the last one was is not known", m.Name(), plural(int(pod.Restarts), "restart"))
		return
	case pod.LastEnd.IsZero():
		return
	}
	const text = "%s ended %s ago: %s; %s in all"
	ago, reason, total := inWords(at.Sub(pod.LastEnd)), cmp.Or(pod.LastReason, "no reason given"), plural(int(pod.Restarts), "restart")
	isOOM := pod.LastReason == "OOMKilled"
	switch {
	case at.Sub(pod.LastEnd) < window:
		o.warn(text, m.Name(), ago, reason, total)
		if isOOM {
			o.mend("give it more memory than etcd's quota and its watchers take: the pod's limit, or the node's memory")
		}
	case isOOM:
		o.info(text, m.Name(), ago, reason, total)
	default:
		o.shows(text, m.Name(), ago, reason, total)
	}
}
