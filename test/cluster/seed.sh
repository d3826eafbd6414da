#!/bin/bash
# Fills DIR with the state directory of a containerd that has unpacked every
# image tar of IMAGES. Runs in mount and pid namespaces of its own, so nothing
# of it outlives it; DEBIAN holds containerd.
set -eu
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/seed /mnt/debian /mnt/images
mount --bind "$DIR" /mnt/seed
mount --bind "$DEBIAN" /mnt/debian
mount --bind "$IMAGES" /mnt/images
mount -t tmpfs -o mode=755 tmpfs /run
cd /

export PATH=/mnt/debian/usr/bin:/mnt/debian/usr/sbin:$PATH
cat >/run/containerd.toml <<-CONFIG
	version = 2
	root = "/mnt/seed"
	state = "/run/containerd"
	disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.zfs"]
	[plugins."io.containerd.internal.v1.opt"]
	  path = "/run/opt"
CONFIG
containerd --config /run/containerd.toml &
until ctr version >/dev/null 2>&1; do
	kill -0 $! # it ended: say so now
	sleep 0.1
done
for image in /mnt/images/*.tar; do ctr -n k8s.io images import "$image"; done
kill $!
wait $! || true
