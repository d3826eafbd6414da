#!/bin/bash
# pictures.sh makes docs/images/*.svg: what commands show on a terminal of 120 columns, run on a
# real control plane of three nodes that it starts itself and removes. Called by `make docs`.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
name=docs
work=$(mktemp -d /tmp/etcd.XXXX) # some of it is shown
follower=''

# From the module's folder: it builds what it needs.
testcluster() { (cd "$root" && bin/testcluster "$@" --cluster "$name"); }
finish() {
  code=$?
  cd "$root"
  if test -n "$follower"; then kill "$follower" || true; fi
  testcluster down
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

go build -o "$work/svg" ./test/docs/svg
testcluster up --nodes 3
export PATH=$root/bin:$PATH LANG=C.UTF-8 TERM=xterm-256color
unset NO_COLOR CLICOLOR CLICOLOR_FORCE COLORFGBG
KUBECONFIG=$(testcluster kubeconfig)
certs=$(testcluster certs)
export KUBECONFIG ETCDCTL_CACERT=certs/ca.crt ETCDCTL_CERT=certs/client.crt ETCDCTL_KEY=certs/client.key
cd "$work"
ln -s "$certs" certs

# picture NAME COMMAND: exit code 3, for findings, is as good as 0.
picture() {
  echo "docs/images/$1.svg: $2"
  code=0
  script -qec "stty cols 120 rows 100; $2" /dev/null </dev/null >shown || code=$?
  if test "$code" != 0 && test "$code" != 3; then
    cat shown
    exit 1
  fi
  ./svg -command "$2" <shown >picture
  mv picture "$root/docs/images/$1.svg"
}

# again COMMAND: until it succeeds, at most two minutes.
again() {
  for _ in $(seq 60); do
    if eval "$1" >/dev/null 2>&1; then return; fi
    sleep 2
  done
  echo "error: still not so: $1" >&2
  exit 1
}

picture members "kubectl etcd member list"

# Somebody deletes what an archive still has.
kubectl etcd keygen -f archive-key.txt
recipient=$(sed -n 's/^# public key: //p' archive-key.txt)
kubectl etcd backup --follow --archive archive --recipient "$recipient" --keep-all --flush 2s >follow.txt 2>&1 &
follower=$!
again "grep '  base  ' follow.txt"
kubectl create namespace shop
kubectl create deployment web --image example.com/web:1 --replicas 2 -n shop
kubectl create configmap prices --from-literal apple=3 -n shop
sleep 15
kubectl delete deployment web -n shop
kubectl delete configmap prices -n shop
sleep 15
kill -INT "$follower"
wait "$follower" || true
follower=''
picture backups "kubectl etcd backups --archive archive"
tail="kubectl etcd tail --archive archive --identity archive-key.txt --deletes -n shop"
picture tail "$tail"
before=$($tail --resource deployments -o json | sed -n '1s/.*"before":\([0-9]*\).*/\1/p')
picture restore "kubectl etcd restore --archive archive --identity archive-key.txt --to-revision $before --out-dir restored --dry-run"

# One line is 130 ms long.
testcluster line node0 node2 --rtt 130ms
picture tune "kubectl etcd tune"
testcluster line node0 node2

# Much comes and goes.
head -c 680000 /dev/urandom | base64 -w 0 >ballast
for i in $(seq 140); do kubectl create configmap "ballast$i" --from-file ballast -n shop >/dev/null; done
kubectl delete namespace shop
sleep 75
kubectl etcd compact --keep 1m --physical --yes
sleep 5
picture defrag "kubectl etcd defrag --dry-run"

# The night.
testcluster stop node2
sleep 45
picture status "kubectl etcd status"
picture health "kubectl etcd health"
