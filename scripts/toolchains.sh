#!/usr/bin/env bash
# Installs what plugins in C and Rust are built with, for the tests: compilers and libraries for WebAssembly. With `all`
# those of Go, Zig and AssemblyScript, too, the last two into .cache/toolchains. Quiet where they are there; where they
# cannot be had, the tests that need them are skipped.
set -uo pipefail
cd "$(dirname "$0")/.."

packages=(clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 rustc libstd-rust-dev-wasm32)
[ "${1:-}" = all ] && packages+=(golang-1.24-go)
if ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"; } </dev/null >/dev/null 2>&1 ||
        echo "not all compilers for WebAssembly are installed: apt install ${packages[*]}"
fi
[ "${1:-}" = all ] || exit 0

tools=.cache/toolchains
mkdir -p "$tools"
if ! cmp --silent requirements/zig.lock "$tools/zig.lock"; then
    scripts/uv.sh pip install --quiet --target "$tools/zig" --require-hashes -r requirements/zig.lock &&
        cp requirements/zig.lock "$tools/zig.lock" || echo "Zig is not installed: pip install ziglang"
fi
if ! cmp --silent guests/assemblyscript/package-lock.json "$tools/package-lock.json"; then
    cp guests/assemblyscript/package.json guests/assemblyscript/package-lock.json "$tools" &&
        npm ci --prefix "$tools" --no-audit --no-fund --silent </dev/null ||
        { rm -f "$tools/package-lock.json"; echo "AssemblyScript is not installed: npm install assemblyscript"; }
fi
