#!/bin/bash
# demo.sh shows the main job on a real Kubernetes control plane that it starts
# itself, one node, and removes everything at the end. Called by `make demo`.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/bin
name=demo
work=$(mktemp -d)
bold='' plain=''
if test -t 1 && test -z "${NO_COLOR:-}"; then
  bold=$'\033[1m' plain=$'\033[0m'
fi

finish() {
  code=$?
  cd "$bin/.."
  say "Clean up"
  "$bin/testcluster" down --cluster "$name"
  rm -rf "$work"
  exit "$code"
}
say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
# Prints a command as it is typed, then runs it.
run() {
  printf '\n$ %s\n' "$*"
  eval "$*"
}
trap finish EXIT
trap 'exit 130' INT TERM

say "Start a real control plane: kubeadm, one node ($(date -u +%T))"
"$bin/testcluster" up --cluster "$name" --nodes 1
export PATH=$bin:$PATH
KUBECONFIG=$("$bin/testcluster" kubeconfig --cluster "$name")
certs=$("$bin/testcluster" certs --cluster "$name")
export KUBECONFIG
cd "$work"
ln -s "$certs" certs

say "How is etcd? No flag, nothing is created ($(date -u +%T))"
run kubectl etcd status

say "Something precious, and a backup"
run kubectl create configmap precious --from-literal=worth=everything
run export ETCDCTL_CACERT=certs/ca.crt ETCDCTL_CERT=certs/client.crt ETCDCTL_KEY=certs/client.key
run kubectl etcd backup -f snapshot.db

say "The mistake"
run kubectl delete configmap precious
run kubectl create configmap mistake

say "Restore: the data directory, proven, and the steps that put it in place"
run kubectl etcd restore --from-file snapshot.db --out-dir restored

say "The same for a script, which types the steps on the node word for word"
run 'kubectl etcd restore --from-file snapshot.db --out-dir typed -o json > steps.json'
run "testcluster walk --cluster $name steps.json"

say "The mistake is gone, what was precious is back ($(date -u +%T))"
run kubectl get configmaps
kubectl get configmap precious >/dev/null
if kubectl get configmap mistake >/dev/null 2>&1; then
  echo "error: the mistake is still there" >&2
  exit 1
fi
run kubectl etcd status
