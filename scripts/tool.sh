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
if [ -d "$("$RUSTC" --print sysroot)/lib/rustlib/aarch64-unknown-linux-musl" ]; then
	target=aarch64-unknown-linux-musl
elif [ -d "$debian_sysroot" ]; then
	target=aarch64-unknown-linux-gnu
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
	export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="--sysroot=$debian_sysroot -Ctarget-feature=+crt-static"
else
	die "no standard library for arm64: scripts/setup.sh host"
fi
(cd "$root" && logged "$root/build/tool.log" cargo build --locked --profile tool -p mvirt --target "$target")
cmp -s "$root/target/$target/tool/mvirt" "$out" || cp "$root/target/$target/tool/mvirt" "$out"
echo "$out"
