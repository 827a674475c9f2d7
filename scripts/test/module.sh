#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Each kernel has a directory of its own for the module that is built against it, also where a
# vendor's trees are of one release; and a kernel that mvirt cannot run on is refused.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset KDIR KERNEL VARIANT DEBUG
mkdir -p "$work/tree"
cp -r "$root/scripts" "$root/module" "$root/uapi" "$work/tree/"

# A kernel as far as module.sh looks; Kbuild's part is to make mvirt.ko.
vendor() { # NAME
	mkdir -p "$work/$1/include/config" "$work/$1/include/generated"
	printf 'CONFIG_RUST=y\nCONFIG_ARM64_4K_PAGES=y\n' >"$work/$1/.config"
	touch "$work/$1/include/generated/autoconf.h" "$work/$1/Module.symvers"
	echo 6.18.15-vendor >"$work/$1/include/config/kernel.release"
	# shellcheck disable=SC2016  # make expands it
	printf 'modules:\n\techo %s >$(M)/mvirt.ko\n' "$1" >"$work/$1/Makefile"
}
builds() { # NAME [ARGUMENT]...: prints where its module is
	local ko
	ko=$(KDIR=$work/$1 "$work/tree/scripts/module.sh" "${@:2}" 2>"$work/log") || die "no module for $1: $(<"$work/log")"
	[ "$(<"$ko")" = "$1" ] || die "$ko is not that of $1 but of $(<"$ko")"
	[[ $ko == *6.18.15-vendor* ]] || die "$ko does not say its release"
	echo "$ko"
}
seen=()
new() { # WHAT NAME [ARGUMENT]...: nobody has built there yet
	local ko other
	ko=$(builds "${@:2}")
	for other in "${seen[@]}"; do [ "$ko" != "$other" ] || die "$1 shares $ko with another"; done
	seen+=("$ko")
}

vendor first
vendor second
new 'a vendor kernel' first
[ "$(builds first)" = "${seen[0]}" ] || die "one kernel has two places"
new 'a second tree of that release' second
new 'a build with options' first --debug
echo CONFIG_PREEMPT=y >>"$work/first/.config"
new 'another configuration' first
printf '0x12345678\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n' >>"$work/first/Module.symvers"
new 'a kernel with another symbol' first
[ "$(kernel_label "$work/first" 6.18.15 4k)" = 6.18.15-4k ] || die "our own kernels have another label"

# Where make is called without these scripts, Kbuild's own makefile refuses.
kbuild() { make -n -f "$root/module/Kbuild" src="$root/module" obj="$work" "$@" >"$work/log" 2>&1; }
kbuild CONFIG_ARM64_4K_PAGES=y libs || true
! grep -q 'are served' "$work/log" || die "a kernel with 4 KiB pages is refused"
if kbuild CONFIG_ARM64_64K_PAGES=y libs; then die "a kernel with 64 KiB pages is taken"; fi
grep -q '4 and 16 KiB are served: build it with CONFIG_ARM64_4K_PAGES' "$work/log" ||
	die "64 KiB pages are refused for another reason: $(<"$work/log")"
