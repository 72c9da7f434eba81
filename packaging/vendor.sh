#!/bin/bash
# Fetches the scripts that the pages bring along, and the one that their tests use, from the npm registry.
# They are kept in the repository, so that a server needs no network; run this to change a version: make vendor
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

# Fetches a package of exactly this content into $place/package.
fetch() {
    local name=$1 digest=$2
    rm -rf "$place/package"
    (cd "$place" && npm pack --silent --ignore-scripts "$name" >archive-name)
    local archive found
    archive="$place/$(tail -n 1 "$place/archive-name")"
    found="sha512-$(openssl dgst -sha512 -binary "$archive" | openssl base64 -A)"
    [ "$found" = "$digest" ] || { echo "vendor: $name is $found, not $digest" >&2; exit 1; }
    tar -xzf "$archive" -C "$place"
}

pages=src/jobmeter/serve/web/assets/vendored
tests=tests/serve/browser/vendored
mkdir -p "$pages" "$tests"

fetch htmx.org@2.0.11 sha512-Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==
cp "$place/package/dist/htmx.min.js" "$pages/"
cp "$place/package/LICENSE" "$pages/htmx.LICENSE"

fetch uplot@1.6.32 sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==
cp "$place/package/dist/uPlot.iife.min.js" "$place/package/dist/uPlot.min.css" "$pages/"
cp "$place/package/LICENSE" "$pages/uPlot.LICENSE"

fetch axe-core@4.14.1 sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==
cp "$place/package/axe.min.js" "$tests/"
cp "$place/package/LICENSE" "$tests/axe.LICENSE"
