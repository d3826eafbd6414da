# Every target may be called twice. The test cluster needs root on Linux.
MODULE  := github.com/kubectl-etcd/kubectl-etcd
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# What make image printed, NAME@sha256:DIGEST: --relay then needs no --relay-image.
RELAY_IMAGE ?=
LDFLAGS := -s -w -X $(MODULE)/pkg/cmd.version=$(VERSION) -X $(MODULE)/pkg/cmd.relayImage=$(RELAY_IMAGE)

CLUSTER ?= dev
NODES   ?= 3
TESTCLUSTER = bin/testcluster

.DEFAULT_GOAL := help
.PHONY: help build test test-unit test-e2e test-release test-azure soak release push-image lint bench demo docs clean image test-cluster-tool cluster cluster-kubeconfig cluster-certs cluster-shell cluster-down cluster-load cluster-line

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build test-cluster-tool ## the main job on a real cluster: status, backup, a mistake, the restore
	@test/demo/demo.sh

docs: build test-cluster-tool ## docs/images, the README's pictures, from real runs on a cluster of three; needs script(1)
	@mkdir -p docs/images
	@test/docs/pictures.sh

test: test-unit test-release test-e2e ## everything; needs root on Linux for its own clusters

test-unit: ## what needs no cluster
	go vet -tags e2e,azurite,release ./...
	go test -race -timeout 20m ./...
	cd test/image && go vet ./... && go test ./...
	cd test/k9s && go vet ./... && go test ./...

# One package after the other: each may start a cluster.
test-e2e: ## journeys on a real cluster of three control planes, and the cluster's own tests
	go test -tags e2e -count=1 -p 1 -timeout 60m ./test/cluster/... ./test/e2e/...

test-azure: ## the store's contract against Azurite; needs npm, and node 10 or newer
	go test -race -tags azurite -count=1 -run Azure ./pkg/store

SEEDS ?= 200
soak: ## random work on real etcds, captured, restored and compared (SEEDS=200)
	SEEDS=$(SEEDS) go test -race -count=1 -timeout 6h -v -run TestRandomWork ./test/property

lint: ## golangci-lint, pinned in test/lint
	go tool -modfile=test/lint/go.mod golangci-lint run --build-tags e2e,azurite,release ./...

bench: build test-cluster-tool ## the binary's size and start, and against kubectl port-forward and etcdctl, in one run, as ratios
	go run ./test/bench

clean: ## what make made here; the cache of built binaries stays
	rm -rf bin dist

build: ## bin/kubectl-etcd
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/kubectl-etcd ./cmd/kubectl-etcd

IMAGE ?= kubectl-etcd.dev/kubectl-etcd:$(VERSION)
IMAGE_TAR ?= bin/image.tar

# The binaries in it need no digest of the image: it is the caller who names it.
image: ## bin/image.tar, for amd64 and arm64: what --relay-image names (IMAGE=name:tag)
	for arch in amd64 arm64; do GOOS=linux GOARCH=$$arch CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/linux-$$arch/kubectl-etcd ./cmd/kubectl-etcd || exit; done
	cd test/image && go run . -name '$(IMAGE)' -out '$(abspath $(IMAGE_TAR))' linux/amd64=../../bin/linux-amd64/kubectl-etcd linux/arm64=../../bin/linux-arm64/kubectl-etcd

# A commit without a tag of its own is v0.0.0-gCOMMIT: krew and goreleaser want a semantic version.
RELEASE ?= $(if $(filter v%,$(VERSION)),$(VERSION),v0.0.0-g$(VERSION))
RELEASE_IMAGE ?= kubectl-etcd.dev/kubectl-etcd

release: ## dist: archives for krew, SBOMs, checksums, the image, krew's manifest (VERSION=v1.2.3, RELEASE_IMAGE=registry/name); publishes nothing
	@test/release/release.sh '$(RELEASE)' '$(RELEASE_IMAGE)'

test-release: ## make release, and what it made: krew installs, upgrades and removes it, for every platform
	go test -tags release -count=1 -timeout 60m ./test/release/...

push-image: ## push dist's image to the registry in its name (VERSION=v1.2.3, RELEASE_IMAGE=registry/name; log in as docker does)
	cd test/image && go run . -name '$(RELEASE_IMAGE):$(RELEASE)' -push '$(abspath dist)/kubectl-etcd_$(RELEASE)_image.tar'

# go build is its own judge of what is up to date.
test-cluster-tool:
	@go build -o $(TESTCLUSTER) ./test/cluster/cmd/testcluster

cluster: test-cluster-tool ## start a real control plane and leave it running (NODES=3, CLUSTER=name, EVENTS=1: with an etcd for events)
	@$(TESTCLUSTER) up --cluster '$(CLUSTER)' --nodes '$(NODES)' $(if $(EVENTS),--events)

cluster-kubeconfig: test-cluster-tool ## print the path of its kubeconfig (make -s)
	@$(TESTCLUSTER) kubeconfig --cluster '$(CLUSTER)'

cluster-certs: test-cluster-tool ## print the folder of its etcd client certificate (make -s)
	@$(TESTCLUSTER) certs --cluster '$(CLUSTER)'

cluster-shell: test-cluster-tool ## a root shell on one of its nodes (NODE=node0)
	@$(TESTCLUSTER) node-shell '$(or $(NODE),node0)' --cluster '$(CLUSTER)'

cluster-load: test-cluster-tool ## write to it as Kubernetes does (RATE=50, DURATION=1m)
	@$(TESTCLUSTER) load --cluster '$(CLUSTER)' --rate '$(or $(RATE),50)' --duration '$(or $(DURATION),1m)'

cluster-line: test-cluster-tool ## make the line between two of its nodes longer or worse (A=node0 B=node1 RTT=20ms JITTER=2ms LOSS=1, in percent); without figures, undo it
	@$(TESTCLUSTER) line '$(or $(A),node0)' '$(or $(B),node1)' --cluster '$(CLUSTER)' $(if $(RTT),--rtt '$(RTT)') $(if $(JITTER),--jitter '$(JITTER)') $(if $(LOSS),--loss '$(LOSS)')

cluster-down: test-cluster-tool ## remove it and everything of it
	@$(TESTCLUSTER) down --cluster '$(CLUSTER)'
