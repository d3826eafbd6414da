package discover

import (
	"path/filepath"
	"slices"
	"strings"
)

// notOnNode is why the node's disk shows no etcd in a static pod, with the paths that
// were looked at and the command that does it.
func (d disk) notOnNode(manifests []manifest, servers []APIServer, looked, notes []string) *NotFoundError {
	places := strings.Join(looked, ", ")
	for _, reason := range []*NotFoundError{d.k3s(), d.systemService(), d.apiServersEtcd(manifests, servers)} {
		if reason != nil {
			return reason
		}
	}
	if len(notes) > 0 {
		return &NotFoundError{
			Reason:  "no static pod in " + places + " runs etcd; " + strings.Join(notes, "; "),
			Instead: "mend that manifest, or reach etcd directly: --endpoints https://127.0.0.1:2379 --cacert FILE --cert FILE --key FILE",
		}
	}
	if len(manifests) > 0 {
		return &NotFoundError{
			Reason:  "no static pod in " + places + " runs etcd, though there are others: its manifest was moved away, or etcd runs elsewhere",
			Instead: "put etcd's manifest back, or ask another member, " + elsewhere,
		}
	}
	return &NotFoundError{
		Reason:  "there is no static pod in " + places + ": this is no control plane node, or its manifests were moved away",
		Instead: "run it on a control plane node, as root: kubectl etcd status --on-node; a disk that is mounted elsewhere: --node-root DIR",
	}
}

// k3s runs etcd inside its own process (k3s pkg/daemons/control/deps/deps.go).
func (d disk) k3s() *NotFoundError {
	const dir = "/var/lib/rancher/k3s/server/tls/etcd/"
	if !d.exists(dir + "server-ca.crt") {
		return nil
	}
	return &NotFoundError{
		Reason: "k3s runs etcd inside its own process, not as a static pod: " + d.at(dir),
		Instead: directly("https://127.0.0.1:2379", clientFiles{
			ca: d.at(dir + "server-ca.crt"), cert: d.at(dir + "client.crt"), key: d.at(dir + "client.key"),
		}),
	}
}

// systemService is kubespray's etcd: a unit of systemd with its settings in /etc/etcd.env
// (roles/etcd/templates/etcd.env.j2). admin's certificate is a client's.
func (d disk) systemService() *NotFoundError {
	const environment = "/etc/etcd.env"
	data, err := d.read(environment)
	if err != nil {
		return nil
	}
	settings := Settings{}
	for line := range strings.SplitSeq(string(data), "\n") {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			settings.addEnv(map[string]string{name: value}, FromEnv)
		}
	}
	files := d.files(clientFiles{settings["trusted-ca-file"].Value, settings["cert-file"].Value, settings["key-file"].Value})
	if files.ca != "" {
		if admins := d.glob(filepath.Join(filepath.Dir(settings["trusted-ca-file"].Value), "admin-*-key.pem")); len(admins) > 0 {
			files.key = d.at(admins[0])
			files.cert = d.at(strings.TrimSuffix(admins[0], "-key.pem") + ".pem")
		}
	}
	url := settings.clientAddress().dialable()
	if url.port == 0 {
		return nil
	}
	return &NotFoundError{
		Reason:  "etcd is a system service here, not a static pod: " + d.at(environment),
		Instead: directly(url.String(), files),
	}
}

// apiServersEtcd: the API server's own manifest names an etcd that is no static pod here, and
// the files for it.
func (d disk) apiServersEtcd(manifests []manifest, servers []APIServer) *NotFoundError {
	reason := byEtcdServers(servers)
	if reason == nil {
		return nil
	}
	var urls []string
	for _, server := range servers {
		urls = append(urls, server.EtcdServers...)
	}
	slices.Sort(urls)
	urls = slices.Compact(urls)
	files := apiServerFiles(manifests)
	if strings.HasPrefix(urls[0], "unix") || len(files) == 0 {
		return reason
	}
	if slices.ContainsFunc(parseAddresses(urls[0]), address.isLocal) {
		reason.Reason = "the API server here uses the etcd at " + urls[0] + ", which no static pod runs: its manifest was moved away, or it is a system service"
	}
	reason.Instead = directly(strings.Join(urls, ","), d.files(files[0]))
	if slices.ContainsFunc(parseAddresses(urls[0]), address.isLocal) { // which may be stopped
		reason.Instead = "ask another member, " + elsewhere + "; or, where etcd is a system service: " + reason.Instead
	}
	return reason
}

// files are the node's paths as this process opens them.
func (d disk) files(f clientFiles) clientFiles {
	for _, name := range []*string{&f.ca, &f.cert, &f.key} {
		if *name != "" {
			*name = d.at(*name)
		}
	}
	return f
}

// directly is the command that reaches etcd by its URLs.
func directly(urls string, files clientFiles) string {
	line := "kubectl etcd status --endpoints " + urls
	for _, f := range []option{{"cacert", files.ca}, {"cert", files.cert}, {"key", files.key}} {
		if f.value != "" {
			line += " --" + f.name + " " + f.value
		}
	}
	return line
}
