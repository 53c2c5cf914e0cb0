#!/usr/bin/env bash
# Makes sure that the tools cargo cannot fetch are installed. Does nothing, and needs no network, when they are.
set -euo pipefail

say() { echo "setup: $*" >&2; }

# bindgen reads RocksDB's header through libclang.
has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib/*/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib64/libclang*.so*' >/dev/null
}

missing=()
command -v cc >/dev/null || missing+=(gcc)
command -v make >/dev/null || missing+=(make)
{ command -v clang && command -v clang++; } >/dev/null || missing+=(clang)
has_libclang || missing+=(libclang-dev)

if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        say "missing: ${missing[*]} (Debian's names). Install them with this system's package manager, then try again."
        exit 1
    fi
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { say "missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}"; exit 1; }
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq
    # g++ brings the C++ standard library that clang++ compiles against.
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" g++ >&2
fi

if ! command -v cargo >/dev/null && [ ! -x "${HOME:-}/.cargo/bin/cargo" ]; then
    say "Rust is missing. Get it from https://rustup.rs (1.90 or later), then try again."
    exit 1
fi
