#!/bin/bash
# PID 1 of one node of a test cluster. It is started inside fresh mount, pid,
# uts and ipc namespaces and the node's own network namespace, and turns them
# into a machine: private views of the file system, containerd, kubelet.
#
# From the environment: NODE (its name), NODE_DIR (what it keeps, on the host),
# CGROUPS (its cgroup directories, one per hierarchy), KUBERNETES, DEBIAN (folders
# of binaries), POD_SUBNET, PAUSE_IMAGE.
set -eu
exec >>"$NODE_DIR/init.log" 2>&1 </dev/null

# Into the node's cgroups first: whatever starts from here on is found, counted
# and ended through them. 0 means "the writer"; its pid differs in this namespace.
for cgroup in $CGROUPS; do
	echo 0 >"$cgroup/init/cgroup.procs"
done

mount --make-rprivate /
mount -t proc proc /proc
hostname "$NODE"

# The cache may lie below a directory that is overlaid in a moment, so what the
# node needs of it is seen from /mnt.
mkdir_bind() {
	mkdir -p "$2"
	mount --bind "$1" "$2"
}
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir_bind "$NODE_DIR" /mnt/node
mkdir_bind "$KUBERNETES" /mnt/kubernetes
mkdir_bind "$DEBIAN" /mnt/debian
cd /

# Nothing is created in the host's /etc, /var and /opt: the node writes to
# overlays, and to plain directories where an overlay will not do (containerd
# puts overlays there itself, etcd wants a real disk).
for dir in etc var opt; do
	mkdir -p /mnt/node/overlay/$dir /mnt/node/work/$dir
	mount -t overlay overlay -o lowerdir=/$dir,upperdir=/mnt/node/overlay/$dir,workdir=/mnt/node/work/$dir /$dir
done
mount -t tmpfs -o mode=755 tmpfs /run
for dir in etc/kubernetes var/lib/etcd var/lib/etcd-events var/lib/etcd-twin var/lib/kubelet var/lib/containerd var/log/pods var/log/containers; do
	mkdir -p /mnt/node/fs/$dir
	mkdir_bind /mnt/node/fs/$dir /$dir
done
# kubelet and the pods' mount propagation want a shared tree.
mount --make-rshared /

# kubelet sets these sysctls, which belong to the whole machine. Files that read
# back what it wants take their place, and the host keeps its own values.
mkdir -p /mnt/sysctl
while read -r key value; do
	file=/mnt/sysctl/${key//\//_}
	echo "$value" >"$file"
	mount --bind "$file" "/proc/sys/$key"
done <<-SYSCTLS
	vm/overcommit_memory 1
	vm/panic_on_oom 0
	kernel/panic 10
	kernel/panic_on_oops 1
	kernel/keys/root_maxkeys 1000000
	kernel/keys/root_maxbytes 25000000
SYSCTLS

export PATH=/mnt/kubernetes:/mnt/debian/usr/bin:/mnt/debian/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
libseccomp=$(echo /mnt/debian/usr/lib/*/libseccomp.so.2)
export LD_LIBRARY_PATH=${libseccomp%/*}

mkdir -p /etc/cni/net.d
cat >/etc/cni/net.d/10-bridge.conflist <<-CNI
	{
	  "cniVersion": "1.0.0",
	  "name": "bridge",
	  "plugins": [{
	    "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
	    "ipam": {
	      "type": "host-local", "dataDir": "/run/cni-ipam",
	      "ranges": [[{"subnet": "$POD_SUBNET"}]], "routes": [{"dst": "0.0.0.0/0"}]
	    }
	  }]
	}
CNI

# restrict_oom_score_adj: without CAP_SYS_RESOURCE nobody may lower an
# oom_score_adj, and runc dies of it ("can't get final child's PID from pipe").
cat >/run/containerd.toml <<-CONFIG
	version = 2
	root = "/var/lib/containerd"
	state = "/run/containerd"
	disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.zfs"]
	[grpc]
	  address = "/run/containerd/containerd.sock"
	[plugins."io.containerd.internal.v1.opt"]
	  path = "/var/lib/containerd/opt"
	[plugins."io.containerd.grpc.v1.cri"]
	  sandbox_image = "$PAUSE_IMAGE"
	  disable_apparmor = true
	  restrict_oom_score_adj = true
	  [plugins."io.containerd.grpc.v1.cri".containerd]
	    snapshotter = "overlayfs"
	    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
	      runtime_type = "io.containerd.runc.v2"
	      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
	        SystemdCgroup = false
	        BinaryName = "/mnt/debian/usr/sbin/runc"
	  [plugins."io.containerd.grpc.v1.cri".cni]
	    bin_dir = "/mnt/debian/usr/lib/cni"
	    conf_dir = "/etc/cni/net.d"
CONFIG
containerd --config /run/containerd.toml >>/mnt/node/containerd.log 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.1; done

touch /mnt/node/ready

# What systemd does for kubelet elsewhere: start it once kubeadm has configured
# it, and again whenever it ends, unless a test holds it back. Both files: kubeadm
# writes the flags (cgroup-root among them) after the configuration.
while :; do
	if [ ! -e /mnt/node/kubelet.held ] && [ -e /var/lib/kubelet/config.yaml ] && [ -e /var/lib/kubelet/kubeadm-flags.env ]; then
		. /var/lib/kubelet/kubeadm-flags.env
		# shellcheck disable=SC2086 # the arguments are meant to be split
		kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \
			--config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS >>/mnt/node/kubelet.log 2>&1 || true
		echo "$(date +%T) kubelet ended"
	fi
	sleep 0.5
done
