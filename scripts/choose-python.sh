#!/usr/bin/env bash
# Prints the path of the Python to build with: $PYTHON, else python3.11, else python3 (3.11 to 3.13, with venv).
# With a version (`choose-python.sh 3.13`) prints just that one, and fails silently where the machine has none.
set -u

probe='import sys; ok = (3, 11) <= sys.version_info[:2] < (3, 14); print(getattr(sys, "_base_executable", sys.executable))
sys.exit(not ok)'

works() { # prints the real path of a candidate: version managers put names on the PATH that do not run
    env -u PYTHONPATH -u PYTHONHOME "$1" -c "$probe" 2>/dev/null
}

if [ $# -gt 0 ]; then
    for candidate in "python$1" "/usr/bin/python$1" "/usr/local/bin/python$1"; do
        works "$candidate" && exit 0
    done
    exit 1
fi

found=""
for candidate in ${PYTHON:-python3.11 /usr/bin/python3.11 python3 /usr/bin/python3 python3.13 python3.12}; do
    path=$(works "$candidate") || continue
    found=$path
    "$path" -c "import ensurepip, venv" 2>/dev/null && echo "$path" && exit 0
done

if [ -n "$found" ]; then
    version=$("$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$found has no venv. On Debian: apt install python3-venv (or python$version-venv)" >&2
else
    echo "No Python 3.11, 3.12 or 3.13${PYTHON:+ at $PYTHON}. On Debian: apt install python3 python3-venv" >&2
fi
exit 1
