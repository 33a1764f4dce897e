#!/usr/bin/env bash
# Runs the pinned uv, which comes from PyPI into a folder of its own: nothing but Python need be installed before.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
home=$top/.venv-uv
lock=$top/requirements/installer.lock
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME
export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1

# As pip does: trust what the machine trusts, where it has a list.
[ -e /etc/ssl/certs/ca-certificates.crt ] && export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"

if ! "$home/bin/uv" --version >/dev/null 2>&1 || [ "$lock" -nt "$home/stamp" ]; then
    python=$("$top/scripts/choose-python.sh")
    "$python" -m venv --clear "$home"
    "$home/bin/python" -m pip --quiet --disable-pip-version-check install --require-hashes --only-binary :all: -r "$lock"
    touch "$home/stamp"
fi
exec "$home/bin/uv" "$@"
