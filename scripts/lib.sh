# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034  # variables are for those who source this
#
# What the scripts share: words on standard error, the cache, locks, root, and the compilers' names.
#
# Sourced, never run. A script that sources it prints its result on standard output and nothing
# else, so that others can read it.

set -eEuo pipefail
# No script ends without a word: what set -e stops is named.
trap 'echo "${BASH_SOURCE[0]}: line $LINENO: \"$BASH_COMMAND\" failed with status $?" >&2' ERR

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Outside the checkout: a clean clone on the same machine finds its kernels again.
cache=${MVIRT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mvirt}
jobs=${JOBS:-$(nproc)}
verbose=${V:-0}

# clang and rustc are looked up by these names everywhere; LLVM=-19 makes Kbuild agree.
llvm=${LLVM_VERSION:-19}
# Kbuild is called afresh: the flags of a make above would reach it and mean something else there.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEFILES

# What scripts/setup.sh builds or fetches for itself goes into the cache, not into the system.
tools=$cache/tools
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH:$tools/bin:/usr/sbin:/sbin"

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
	dim=$'\e[2m' bold=$'\e[1m' red=$'\e[31m' plain=$'\e[0m'
else
	dim='' bold='' red='' plain=''
fi

# say SUBJECT TEXT...: one aligned line of progress.
say() { printf '%s%10s%s  %s\n' "$bold" "$1" "$plain" "${*:2}" >&2; }
note() { printf '%10s  %s%s%s\n' '' "$dim" "$*" "$plain" >&2; }
die() {
	printf '%s%10s%s  %s\n' "$red" error "$plain" "$*" >&2
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif have sudo; then
		sudo "$@"
	else
		die "root is needed for \"$*\": run it as root, or install sudo"
	fi
}

# locked NAME: holds a lock of that name until the script (or its subshell) ends, so that two
# makes do not build the same thing.
locked() {
	mkdir -p "$cache/lock"
	exec {lock_fd}>"$cache/lock/$1"
	flock -n "$lock_fd" && return
	note "waiting for another run that holds $1"
	flock "$lock_fd"
}

# logged LOG COMMAND...: runs it with its output in LOG; on failure shows the log's end and where it is.
logged() {
	local log=$1 status=0
	shift
	mkdir -p "$(dirname "$log")"
	if [ "$verbose" != 0 ]; then
		"$@" 2>&1 </dev/null | tee "$log" >&2 || status=$?
	else
		"$@" >"$log" 2>&1 </dev/null || status=$?
	fi
	[ "$status" = 0 ] && return
	tail -n 25 "$log" | sed 's/^/            | /' >&2
	[ "$1" != nice ] || shift
	die "\"$1\" failed with status $status; its whole log is $log"
}

sha256() { sha256sum "$1" | cut -d' ' -f1; }

# seconds since $1, a value of SECONDS, as "3 min 20 s".
since() {
	local s=$((SECONDS - $1))
	if [ "$s" -ge 60 ]; then printf '%d min %d s' $((s / 60)) $((s % 60)); else printf '%d s' "$s"; fi
}

rust_floor=1.85 # 7.3's floor, and the rust-version of Cargo.toml
rust_targets=(aarch64-unknown-linux-musl aarch64-unknown-none-softfloat)
rust_components=(rust-src clippy rustfmt)
debian_rustc=/usr/bin/rustc
# What miri finds depends on its day. MIRI_TOOLCHAIN names another one.
miri_toolchain=${MIRI_TOOLCHAIN:-nightly-2026-05-20}
# Debian's Rust has no standard library for arm64; scripts/setup.sh puts one here.
debian_sysroot=$cache/rust-sysroot

# at_least FLOOR VERSION
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

library_of() { # the library source that belongs to a rustc, or nothing
	local version dir
	version=$("$1" --version | cut -d' ' -f2)
	for dir in "$("$1" --print sysroot)/lib/rustlib/src/rust/library" "/usr/src/rustc-$version/library"; do
		if [ -f "$dir/core/src/lib.rs" ]; then
			echo "$dir"
			return
		fi
	done
}

# std_of SYSROOT TARGET: is its library there, and not the empty directory that another left?
std_of() { compgen -G "$1/lib/rustlib/$2/lib/libcore-*.rlib" >/dev/null; }

# rust_lacks RUSTC [own]: what it lacks to be the Rust of this tree, in words; nothing if all is there.
# Of a caller's own Rust only that is asked which the module needs; the tool and the lints say what
# they lack when they are built.
rust_lacks() {
	local rustc=$1 lacks=() version='' sysroot target program
	[ ! -x "$rustc" ] || version=$("$rustc" --version 2>/dev/null | cut -d' ' -f2) || true
	if [ -z "$version" ]; then
		echo "a rustc that runs"
		return
	fi
	at_least "$rust_floor" "$version" || lacks+=("version $rust_floor (it is $version)")
	[ -n "${RUST_LIB_SRC:-}" ] || [ -n "$(library_of "$rustc")" ] || lacks+=("rust-src")
	if [ "${2:-}" != own ]; then
		for program in cargo cargo-clippy clippy-driver rustfmt; do
			[ -x "$(dirname "$rustc")/$program" ] || lacks+=("$program")
		done
		sysroot=$("$rustc" --print sysroot)
		if [ "$rustc" = "$debian_rustc" ]; then
			std_of "$debian_sysroot" aarch64-unknown-linux-gnu || lacks+=("target aarch64-unknown-linux-gnu")
		else
			for target in "${rust_targets[@]}"; do std_of "$sysroot" "$target" || lacks+=("target $target"); done
		fi
	fi
	[ "${#lacks[@]}" = 0 ] || printf '%s\n' "${lacks[@]}" | paste -sd, | sed 's/,/, /g'
}

# The Rust that the kernel, the module and the tool are built with: the caller's RUSTC, or the first
# that lacks nothing of rustup's toolchain and Debian's.
rust_env() {
	local candidate lacks said='' candidates=()
	if [ -n "${RUSTC:-}" ]; then
		candidate=$(command -v "$RUSTC" || true)
		lacks=$(rust_lacks "$candidate" own)
		[ -z "$lacks" ] || die "RUSTC=$RUSTC lacks $lacks"
	else
		! have rustup || candidates+=("$(rustup which rustc 2>/dev/null || true)")
		candidates+=("$debian_rustc")
		for candidate in "${candidates[@]}"; do
			lacks=$(rust_lacks "$candidate")
			[ -n "$lacks" ] || break
			said+="; ${candidate:-"rustup's default toolchain"} lacks $lacks"
		done
		[ -z "$lacks" ] || die "no Rust to build with${said}: scripts/setup.sh host"
		# Those that are called from here inherit RUSTC and do not say it again.
		[ -z "$said" ] || note "Rust is $candidate${said}"
	fi
	RUSTC=$candidate
	RUST_LIB_SRC=${RUST_LIB_SRC:-$(library_of "$RUSTC")}
	# cargo, clippy and rustfmt come from where the compiler comes from
	PATH=$(dirname "$RUSTC"):$PATH
	LIBCLANG_PATH=${LIBCLANG_PATH:-/usr/lib/llvm-$llvm/lib}
	export RUSTC RUST_LIB_SRC LIBCLANG_PATH PATH
}

# The target for programs that run on arm64, in rust_arm64, and in rust_arm64_flags what rustc needs for
# it: rustup's Rust has musl, Debian's none, and there its glibc is taken.
rust_arm64() {
	rust_arm64=aarch64-unknown-linux-musl rust_arm64_flags=''
	if [ ! -d "$("$RUSTC" --print sysroot)/lib/rustlib/$rust_arm64" ]; then
		[ -d "$debian_sysroot" ] || die "no standard library for arm64: scripts/setup.sh host"
		rust_arm64=aarch64-unknown-linux-gnu
		rust_arm64_flags=--sysroot=$debian_sysroot
	fi
}

# The arguments that every call of Kbuild here shares.
kbuild_args=(LLVM="-$llvm" ARCH=arm64 -j"$jobs")

# kernel_label BUILD VERSION VARIANT: a name for what is built against a kernel's BUILD. A vendor's
# trees may be of one release and still be two: their place and what modules see of them tell.
kernel_label() {
	if [ -z "${KDIR:-}" ]; then
		echo "$2-$3"
	else
		echo "$(<"$1/include/config/kernel.release")-$( (echo "$1" && cat "$1/.config" "$1/Module.symvers") | sha256sum | cut -c1-10)"
	fi
}

# copy_module PLACE: the module's sources, uapi beside them, as Kbuild builds them. Without times, so
# that a checkout that touched every file rebuilds nothing; what a former copy left is removed, and
# what Kbuild made there stays.
copy_module() {
	local place=$1 file
	mkdir -p "$place"
	rsync --recursive --links --perms --checksum "$root/module/" "$place/"
	rsync --recursive --links --perms --checksum "$root/uapi/" "$place/uapi/"
	(cd "$root" && find module -type f -printf '%P\n' && find uapi -type f) | LC_ALL=C sort >"$place/.sources.new"
	if [ -f "$place/.sources" ]; then
		LC_ALL=C comm -13 "$place/.sources.new" "$place/.sources" | while read -r file; do rm -f "${place:?}/$file"; done
	fi
	mv "$place/.sources.new" "$place/.sources"
}

# build_test_modules KDIR OUT: the modules of the selftests, in OUT/modules; OUT/el2_abi.h is there.
# Kbuild wants them in a directory that it may write to.
build_test_modules() {
	rust_env
	mkdir -p "$2/modules"
	cp -u "$root"/selftests/modules/* "$root"/selftests/lib/{hostile,rival}.h "$2/el2_abi.h" "$2/modules/"
	logged "$2/modules.log" make -C "$1" M="$2/modules" "${kbuild_args[@]}" modules
}

# build_secret_guest OUT: the guest of selftests/secret, OUT/secret.gz with OUT/disk.img; its program is
# OUT/bin/secret/keep.
build_secret_guest() {
	"$root/scripts/rootfs.sh" --init "$root/selftests/secret/guest.sh" --output "$1/secret.gz" \
		"$1/bin/secret/keep:/bin/keep"
	"$root/scripts/disk.sh" "$1/disk.img"
}

# Counts of a section (test, lint, selftest), shown as they come and left in build/results for
# scripts/check.sh to add up.
passed=0 failed=0 skipped=0
passes() { passed=$((passed + ${2:-1})) && say pass "$1"; }
fails() { failed=$((failed + ${2:-1})) && say "${red}fail${plain}${bold}" "$1"; }
skips() { skipped=$((skipped + ${2:-1})) && say skip "$1"; }

# tally SECTION: notes the counts and prints them; fails if one failed or nothing ran at all.
tally() {
	mkdir -p "$root/build/results"
	echo "$passed $failed $skipped" >"$root/build/results/$1.counts"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ $((passed + failed)) -gt 0 ] || die "$1: nothing ran"
	[ "$failed" = 0 ]
}
