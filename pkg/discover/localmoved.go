package discover

import (
	"path"
	"slices"
)

// elsewhere is what is left where this node's etcd was stopped.
const elsewhere = "on another control plane node, as root: kubectl etcd status --on-node"

// movedAway: etcd's manifest lies beside the directory that kubelet looks into, as where
// it is put to stop etcd, by a restore's steps for one (manifests.held).
func (d disk) movedAway(node string) *NotFoundError {
	for _, dir := range d.manifestDirs() {
		for _, name := range d.beside(dir) {
			m, err := d.readManifest(name, node)
			if err != nil {
				continue // of all that lies there, only a pod of etcd's matters
			}
			if seen := d.recogniseLocal([]manifest{*m}, &Local{}); len(seen) > 0 {
				return d.stopped(seen[0], m.path, dir)
			}
		}
	}
	return nil
}

// beside are the manifests in the directory above dir, and in those next to dir that are
// named after it; the newest of a restore's come first.
func (d disk) beside(dir string) []string {
	dir = path.Clean(dir)
	found := d.glob(path.Join(path.Dir(dir), "*.yaml"))
	for _, other := range d.glob(dir + "*") {
		if other != dir {
			found = append(found, d.glob(path.Join(other, "*.yaml"))...)
		}
	}
	slices.Reverse(found)
	return found
}

// stopped says where the data of an etcd is whose manifest lies at name, not in dir.
func (d disk) stopped(s sighting, name, dir string) *NotFoundError {
	where := ""
	if data := s.pod.Settings["data-dir"].Value; data != "" {
		where = "; its data is in " + d.at(hostPath(s.object, containerOf(s), data))
	}
	return &NotFoundError{
		Reason: "etcd's manifest was moved away, which stops this node's member: it lies at " + name + ", not in " + d.at(dir) + where,
		Instead: "ask another member, " + elsewhere + "; to start this one again, put its manifest back: mv " +
			name + " " + d.at(dir) + "/",
	}
}
