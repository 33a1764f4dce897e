#!/usr/bin/env bash
# Runs all tests: on real servers with the main Python, then the unit tests with a second one. Exit status 0: all hold.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=.cache/tests
mkdir -p "$logs"
failed=0
started=

stop() {
    [ -n "$started" ] && .venv/bin/python scripts/services.py stop >"$logs/services-stop.log" 2>&1
}
trap stop EXIT
trap 'exit 130' INT TERM

suite() { # name, interpreter, arguments of pytest
    local name=$1 python=$2
    shift 2
    printf '\n== %s\n' "$name"
    "$python" -m pytest -m "not soak" --timeout 300 "$@" </dev/null 2>&1 | tee "$logs/$name.log" || failed=1
}

closing() { # name: the line with which pytest ended
    local line
    line=$(grep -aE '(passed|failed|error|skipped|no tests ran).* in [0-9.]+s' "$logs/$1.log" | tail -1 | tr -d =)
    printf '%s: %s\n' "$1" "${line:-did not end}"
}

printf '== checks\n'
scripts/lint.sh || failed=1

printf '\n== services\n'
export DATAFLARE_SERVICES_FSYNC=off # servers are killed by tests, but nobody cuts the power
if DEBIAN_FRONTEND=noninteractive make --no-print-directory services </dev/null; then
    started=yes
    eval "$(.venv/bin/python scripts/services.py env)"
elif [ "${DATAFLARE_STRICT_SKIPS:-0}" = 1 ]; then
    echo "the test servers do not start: nothing is tested" >&2
    exit 1
else
    echo "the test servers do not start: tests that need them will be skipped"
fi

scripts/toolchains.sh
scripts/python-runtime.sh || failed=1
suite all .venv/bin/python -n 2 tests "$@"

recap=()
main=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$main" = 3.13 ]; then
    recap+=("second Python: not run, Python 3.13 is the main one")
elif second=$(scripts/choose-python.sh 3.13); then
    if scripts/setup.sh .venv-313 "$second"; then
        suite unit-on-3.13 .venv-313/bin/python -m "not soak and not once" -n 2 tests/unit
        recap+=("$(closing unit-on-3.13)")
    else
        failed=1
        recap+=("second Python: .venv-313 could not be built")
    fi
else
    recap+=("second Python: not run, this machine has no Python 3.13")
fi

printf '\n== Java\n'
.venv/bin/python scripts/java.py </dev/null || recap+=("Debezium: not compared with, this machine has no Java")
if scripts/setup.sh .venv-extras .venv/bin/python requirements/cloud.lock requirements/debezium.lock; then
    suite extras .venv-extras/bin/python tests/integration/cloud tests/integration/debezium
    recap+=("$(closing extras)")
else
    failed=1
    recap+=("Ray and Debezium: .venv-extras could not be built")
fi

if make --no-print-directory site >"$logs/site.log" 2>&1; then
    recap+=("site: $(tail -1 "$logs/site.log")")
else
    failed=1
    recap+=("site: not built, see $logs/site.log")
    cat "$logs/site.log"
fi

printf '\n== in short\n'
[ $failed = 0 ] || recap+=("something does not hold: see above")
printf '%s\n' "${recap[@]}" "$(closing all)"
exit $failed
