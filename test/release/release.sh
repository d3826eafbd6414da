#!/bin/bash
# Builds into dist what a release consists of: the image for relay and agent, six archives
# with the image's digest compiled in, SBOMs, checksums, and krew's manifest, validated.
# It asks no server for anything once the modules are there, and publishes nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$1 image=$2
if [[ ! $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]]; then
	echo "release: VERSION=$version is not like v1.2.3" >&2
	exit 2
fi

tools=$PWD/bin/tools
tool() { # tool FOLDER PACKAGE: its go.mod pins the version
	CGO_ENABLED=0 go build -modfile="test/release/$1/go.mod" -o "$tools/" "$2"
}
tool goreleaser github.com/goreleaser/goreleaser/v2
tool sbom github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
tool krew sigs.k8s.io/krew/cmd/validate-krew-manifest

tar=bin/kubectl-etcd_${version}_image.tar
relay=$(make -s --no-print-directory image VERSION="$version" IMAGE="$image:$version" IMAGE_TAR="$tar" RELAY_IMAGE=)
echo "image: $relay"

# All that goreleaser needs is here by now; where that may be done it gets no network.
for system in linux darwin windows; do GOOS=$system go list -deps ./cmd/kubectl-etcd >/dev/null; done
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
alone=()
if unshare --net true 2>/dev/null; then alone=(unshare --net); fi
VERSION=$version RELAY_IMAGE=$relay IMAGE_TAR=$tar PATH=$tools:$PATH \
	COMMIT_TIME=$epoch COMMIT_DATE=$(date -u -d "@$epoch" +%FT%TZ) \
	GOPROXY=off "${alone[@]}" "$tools/goreleaser" release --snapshot --clean
mv "$tar" dist/
echo "$relay" >dist/image.txt
notes() { awk -v of="## $1" '$0 == of { on = 1; next } /^## / { on = 0 } on' CHANGELOG.md; }
notes "$version" >dist/notes.md
[[ -s dist/notes.md ]] || notes Unreleased >dist/notes.md

manifest=dist/krew/etcd.yaml # krew's index wants the file to have the plugin's name
"$tools/validate-krew-manifest" -manifest "$manifest" -skip-install
cp "$manifest" dist/krew-manifest.yaml
(cd dist && sha256sum --check --quiet checksums.txt)
