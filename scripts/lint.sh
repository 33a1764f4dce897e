#!/usr/bin/env bash
# All that can be told without running the code: format, lint, types, layers. Says every finding, not the first.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=0
finding() { # name, command: silent where all is well
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "$name: good"
    else
        failed=1
        printf '%s: NOT GOOD\n%s\n' "$name" "$said"
    fi
}

finding format .venv/bin/ruff format --diff --quiet .
finding lint .venv/bin/ruff check --quiet .
finding types .venv/bin/mypy
finding layers .venv/bin/lint-imports --no-cache --no-logo
exit $failed
