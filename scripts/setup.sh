#!/usr/bin/env bash
# Builds a virtual environment from the locks: `setup.sh [FOLDER] [PYTHON] [LOCK...]`, by default .venv with the chosen
# Python and the lock of development; more locks come on top of it.
# Every package is pinned by hash and compiled to bytecode; DataFlare itself is installed editable.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-.venv}
python=${2:-$(scripts/choose-python.sh)}
more=("${@:3}")
uv() { scripts/uv.sh "$@"; }

if ! "$folder/bin/python" -c "" 2>/dev/null; then
    rm -rf "$folder"
    uv venv --quiet --no-project --python "$python" "$folder"
fi

echo "$folder: $("$folder/bin/python" --version), $(grep -c '^[a-z].*==' requirements/dev.lock) packages pinned"
uv pip sync --quiet --python "$folder/bin/python" --require-hashes --compile-bytecode \
    requirements/dev.lock "${more[@]}"
uv pip install --quiet --python "$folder/bin/python" --no-deps --build-constraints requirements/build.lock \
    --editable . --editable guests/python
"$folder/bin/python" -m compileall -q src
touch "$folder/stamp"
