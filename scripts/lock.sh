#!/bin/sh
# Choose versions anew and write the locks: every file pinned by its hash, no host named.
set -eu
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .venv/bin/uv)
lock() {
    "$uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links "$@"
}
lock --upgrade --extra dev pyproject.toml scripts/build.in -o requirements-dev.lock
# What is used at run time is exactly what was tested.
lock --constraint requirements-dev.lock pyproject.toml scripts/build.in -o requirements.lock
echo uv | lock --upgrade - -o requirements-uv.lock
# The vendor's older clients run beside the newest, on its packages; 3.7.1 takes two more.
lock_client() {
    version=$1
    shift
    printf '%s\n' "dolbyio-rest-apis==$version" "$@" | lock --no-deps - -o "tests/clients/dolbyio-rest-apis-$version.lock"
}
lock_client 3.7.1 deprecated wrapt
lock_client 4.0.1
npm install --prefix tests/clients --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --silent
