package discover

import (
	"path"
	"strings"
)

// NodeFiles are paths on the disk of a member's node: the authority of the members'
// certificates, and a client's certificate with its key, good for that member.
type NodeFiles struct{ CA, Cert, Key string }

// kubeadmNodeFiles: the client is the one that kubeadm made for the etcd pod's old
// liveness probe, and makes still (app/phases/certs/certlist.go, "healthcheck-client").
func kubeadmNodeFiles(p process, s Settings) *NodeFiles {
	return filesBeside(hostPathOf(p, s["trusted-ca-file"].Value), "healthcheck-client")
}

// rke2NodeFiles: k3s makes client.crt for its own server (pkg/daemons/control/deps/deps.go,
// genETCDCerts), beside the files that the pod mounts.
func rke2NodeFiles(p process, s Settings) *NodeFiles {
	tls := path.Join(strings.TrimSuffix(s["config-file"].Value, rke2ConfigPath), "server/tls/etcd")
	return filesBeside(hostPathOf(p, path.Join(tls, "server-ca.crt")), "client")
}

// filesBeside names the client's files in the authority's folder; nil without an authority.
func filesBeside(ca, client string) *NodeFiles {
	if ca == "" {
		return nil
	}
	base := path.Join(path.Dir(ca), client)
	return &NodeFiles{CA: ca, Cert: base + ".crt", Key: base + ".key"}
}

// mounted are the files inside the container; nil unless all are there.
func (f *NodeFiles) mounted(p process) *NodeFiles {
	if f == nil {
		return nil
	}
	inside := &NodeFiles{CA: mountedPathOf(p, f.CA), Cert: mountedPathOf(p, f.Cert), Key: mountedPathOf(p, f.Key)}
	if inside.CA == "" || inside.Cert == "" || inside.Key == "" {
		return nil
	}
	return inside
}

// mountedPathOf is where a path of the node's disk is in the container; "": nowhere.
func mountedPathOf(p process, onNode string) string {
	for _, mount := range p.container.VolumeMounts {
		volume := volumeOf(p.pod, mount.Name)
		if volume == nil || volume.HostPath == nil {
			continue
		}
		if inside, ok := below(path.Join(volume.HostPath.Path, mount.SubPath), onNode); ok {
			return path.Join(mount.MountPath, inside)
		}
	}
	return ""
}

// hostPathOf is where on the node's disk a path of the container is; "": nowhere known.
func hostPathOf(p process, name string) string {
	if name == "" {
		return ""
	}
	for _, mount := range p.container.VolumeMounts {
		inside, ok := below(mount.MountPath, name)
		volume := volumeOf(p.pod, mount.Name)
		if ok && volume != nil && volume.HostPath != nil {
			return path.Join(volume.HostPath.Path, mount.SubPath, inside)
		}
	}
	return ""
}

func noNodeFiles(process, Settings) *NodeFiles { return nil }
