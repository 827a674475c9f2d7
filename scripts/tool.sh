#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the tool, static for arm64, and prints its path on standard output. With rustup's Rust
# against musl; Debian's Rust has no musl for arm64, so there against its glibc.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

rust_env
out=$root/build/tool/mvirt
mkdir -p "$root/build/tool"
rust_arm64
if [ -n "$rust_arm64_flags" ]; then
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="$rust_arm64_flags -Ctarget-feature=+crt-static"
fi
(cd "$root" && logged "$root/build/tool.log" cargo build --locked --profile tool -p mvirt --target "$rust_arm64")
cmp -s "$root/target/$rust_arm64/tool/mvirt" "$out" || cp "$root/target/$rust_arm64/tool/mvirt" "$out"
echo "$out"
