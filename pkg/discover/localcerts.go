package discover

import (
	"slices"
)

// certificates are the client certificates for etcd that stand on the node: those that
// the row knows, what the API server's manifest names, and at last etcd's own, which is
// good for clients on most.
func (d disk) certificates(own sighting, manifests []manifest) []CertificateFiles {
	container := containerOf(own)
	onHost := func(name string) string {
		if name == "" {
			return ""
		}
		return hostPath(own.object, container, name)
	}
	ca := onHost(own.pod.Settings["trusted-ca-file"].Value)
	var known []clientFiles
	if ca != "" {
		known = own.row.onNode(ca)
	}
	known = append(known, apiServerFiles(manifests)...)
	served := servedFiles(own.pod.Settings)
	known = append(known, clientFiles{ca, onHost(served.cert), onHost(served.key)})

	var files []CertificateFiles
	for _, k := range known {
		if k.ca == "" || k.cert == "" || k.key == "" {
			continue
		}
		f := CertificateFiles{CA: d.at(k.ca), Cert: d.at(k.cert), Key: d.at(k.key)}
		if !slices.ContainsFunc(files, func(other CertificateFiles) bool { return other.Cert == f.Cert }) {
			files = append(files, f)
		}
	}
	return files
}

// apiServerFiles are what the API servers' manifests name, as paths of the node.
func apiServerFiles(manifests []manifest) []clientFiles {
	var files []clientFiles
	for i := range manifests {
		pod := &manifests[i].pod
		for j := range pod.Spec.Containers {
			container := &pod.Spec.Containers[j]
			run, ok := findInvocation(newProcess(pod, container).argv(), "kube-apiserver")
			if !ok {
				continue
			}
			flags := map[string]string{}
			for _, f := range parseFlags(run.args) {
				flags[f.name] = hostPath(pod, container, f.value)
			}
			files = append(files, clientFiles{flags["etcd-cafile"], flags["etcd-certfile"], flags["etcd-keyfile"]})
		}
	}
	return files
}
