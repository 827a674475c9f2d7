#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# rust_env takes no Rust that is too old or lacks a part, says what it lacks, and goes on to the next.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset RUSTC RUST_LIB_SRC
programs='cargo cargo-clippy clippy-driver rustfmt'

# toolchain NAME VERSION TARGET...: one that has all, with the libraries of these targets.
toolchain() {
	local at=$work/$1 version=$2 target program
	shift 2
	rm -rf "$at"
	mkdir -p "$at/bin" "$at/lib/rustlib/src/rust/library/core/src"
	touch "$at/lib/rustlib/src/rust/library/core/src/lib.rs"
	for program in rustc $programs; do
		# shellcheck disable=SC2016  # the program expands it
		printf '#!/bin/sh\n[ "$1" = --print ] && echo %s || echo "rustc %s (0 2026-01-01)"\n' "$at" "$version" >"$at/bin/$program"
		chmod +x "$at/bin/$program"
	done
	for target; do
		mkdir -p "$at/lib/rustlib/$target/lib"
		touch "$at/lib/rustlib/$target/lib/libcore-0.rlib"
	done
}

rustups() { toolchain rustups "${1:-1.85.0}" "${rust_targets[@]}"; }
debians() {
	toolchain debians 1.85.1
	mkdir -p "$work/cache/rust-sysroot/lib/rustlib/aarch64-unknown-linux-gnu/lib"
	touch "$work/cache/rust-sysroot/lib/rustlib/aarch64-unknown-linux-gnu/lib/libcore-0.rlib"
}
mkdir -p "$work/cargo/bin"
printf '#!/bin/sh\necho %s/rustups/bin/rustc\n' "$work" >"$work/cargo/bin/rustup"
chmod +x "$work/cargo/bin/rustup"

# environment [VARIABLE=VALUE]...: what rust_env takes, and in $work/said what it says
environment() {
	# shellcheck disable=SC2016  # the inner shell expands it
	env CARGO_HOME="$work/cargo" MVIRT_CACHE="$work/cache" "$@" bash -c '. "$1" && debian_rustc=$2 && rust_env &&
		[ "$(command -v cargo)" = "$(dirname "$RUSTC")/cargo" ] && [ -f "$RUST_LIB_SRC/core/src/lib.rs" ] && echo "$RUSTC"' \
		- "$root/scripts/lib.sh" "$work/debians/bin/rustc" 2>"$work/said"
}
takes() { # NAME WORDS [VARIABLE=VALUE]...: that toolchain, with these words; with none, silently
	local got
	got=$(environment "${@:3}") || die "no Rust where $1 was expected: $(<"$work/said")"
	[ "$got" = "$work/$1/bin/rustc" ] || die "$got is taken where $1 was expected"
	if [ -n "$2" ]; then
		grep -qF -- "$2" "$work/said" || die "\"$2\" is not in what is said: $(<"$work/said")"
	else
		[ ! -s "$work/said" ] || die "a word too much: $(<"$work/said")"
	fi
}
refuses() { # WORDS [VARIABLE=VALUE]...
	! environment "${@:2}" >"$work/got" || die "$(<"$work/got") is taken"
	grep -qF -- "$1" "$work/said" || die "\"$1\" is not in what is said: $(<"$work/said")"
}

debians
rustups
takes rustups ''
rustups 1.84.1
takes debians 'lacks version 1.85 (it is 1.84.1)'
rustups 1.100.0
takes rustups ''
for target in "${rust_targets[@]}"; do
	rustups
	# An empty directory of a target that was removed is no target.
	rm "$work/rustups/lib/rustlib/$target/lib/libcore-0.rlib"
	takes debians "$work/rustups/bin/rustc lacks target $target"
done
for program in $programs; do
	rustups
	rm "$work/rustups/bin/$program"
	takes debians "lacks $program"
done
rustups
rm -r "$work/rustups/lib/rustlib/src" "$work/rustups/bin/rustfmt"
takes debians 'lacks rust-src, rustfmt'
rm -r "$work/rustups"
takes debians 'lacks a rustc that runs'
rustups
printf '#!/bin/sh\nexit 1\n' >"$work/rustups/bin/rustc"
takes debians 'lacks a rustc that runs'

# The caller's own: taken if the module can be built with it, never passed over in silence.
takes debians '' RUSTC="$work/debians/bin/rustc"
rustups 1.84.1
refuses 'lacks version 1.85 (it is 1.84.1)' RUSTC="$work/rustups/bin/rustc"
refuses 'lacks a rustc that runs' RUSTC="$work/nowhere"
rustups
rm "$work/rustups/bin/rustfmt"
takes rustups '' RUSTC="$work/rustups/bin/rustc"

# Neither will do: both are named.
rm -r "$work/cache/rust-sysroot"
refuses "$work/rustups/bin/rustc lacks rustfmt" RUSTC=
refuses "$work/debians/bin/rustc lacks target aarch64-unknown-linux-gnu" RUSTC=
