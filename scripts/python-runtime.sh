#!/usr/bin/env bash
# Builds the component in which plugins in Python run, once for each state of its sources; guests/python/build.py tells how.
# `python-runtime.sh [FOLDER]`: by default into the package guests/python, which setup.sh has installed.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=.venv-guests
lock=requirements/python-runtime.lock
python=$folder/bin/python
if ! "$python" -c "" 2>/dev/null || [ "$lock" -nt "$folder/stamp" ]; then
    scripts/uv.sh venv --quiet --clear --no-project --python "$(scripts/choose-python.sh)" "$folder"
    scripts/uv.sh pip sync --quiet --python "$python" --require-hashes "$lock"
    touch "$folder/stamp"
fi
"$python" guests/python/build.py "$@"
