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
