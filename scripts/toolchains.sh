#!/usr/bin/env bash
# Installs what plugins in C and Rust are built with, for the tests: compilers and libraries for WebAssembly. Quiet where
# they are there; where they cannot be had, the tests that need them are skipped.
set -uo pipefail

packages=(clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 rustc libstd-rust-dev-wasm32)
dpkg --status "${packages[@]}" >/dev/null 2>&1 && exit 0
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"; } </dev/null >/dev/null 2>&1 ||
    echo "clang and rustc for WebAssembly are not installed: apt install ${packages[*]}"
