#!/usr/bin/env bash
# Writes requirements/*.lock: exact versions with hashes, for every platform and Python, and no host names.
# Versions that are in the locks stay; `scripts/lock.sh --upgrade` takes the newest ones allowed.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    local name=$1
    shift
    scripts/uv.sh pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command "make lock" --output-file "requirements/$name.lock" "${upgrade[@]}" "$@"
}

upgrade=("$@")
small_ones=$("$(scripts/choose-python.sh)" - <<'PYTHON'
import tomllib
for name in sorted(tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]):
    if name not in ("cloud", "debezium"):
        print("--extra", name)
PYTHON
)
read -r -d '' -a extras <<<"$small_ones" || true
compile dev pyproject.toml "${extras[@]}" --extra http --group dev
compile base pyproject.toml --constraints requirements/dev.lock
compile cloud pyproject.toml --extra cloud --constraints requirements/dev.lock
compile debezium pyproject.toml --extra debezium --constraints requirements/dev.lock
compile build requirements/build.in
compile demo requirements/demo.in --no-deps
compile installer requirements/installer.in
compile python-runtime requirements/python-runtime.in
compile zig requirements/zig.in
compile site requirements/site.in --constraints requirements/dev.lock

if grep -n '://' requirements/*.lock; then
    echo "a lock names a host: see the lines above" >&2
    exit 1
fi
