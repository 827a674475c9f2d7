#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the Image of the kernel on which the peers are measured, fetched once and checked:
#
#	scripts/bench/peer-kernel.sh VERSION [--words]
#
# --words prints what its command line needs instead. Exits 3 if there is none of that version, 1 if it
# could not be had.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=scripts/debian.sh
. "$root/scripts/debian.sh"

version=${1:?usage: scripts/bench/peer-kernel.sh VERSION [--words]}
read -r sha where words < <(awk -v v="$version" '!/^#/ && $1 == v { $1 = ""; print }' "$root/scripts/config/peer-kernels") ||
	exit 3
if [ "${2:-}" = --words ]; then
	echo "$words"
	exit
fi

image=$cache/peer-kernel/$version-${sha:0:10}/Image
if [ ! -f "$image" ]; then
	locked "peer-kernel-$version"
	[ -n "$(debian_release)" ] || die "Debian's build of Linux $version comes from this system's Debian archive, and this is not Debian"
	scratch=$cache/peer-kernel/partial-$version
	rm -rf "$scratch"
	mkdir -p "$scratch/tree"
	say fetch "Debian package ${where#*/}"
	conf=$(apt_private arm64 "${where%%/*}")
	(cd "$scratch" && APT_CONFIG=$conf apt-get -qq download "${where#*/}" >&2) || die "no ${where#*/} in this system's Debian archive"
	package=$(find "$scratch" -maxdepth 1 -name '*.deb')
	[ "$(sha256 "$package")" = "$sha" ] || die "$(basename "$package") hashes to $(sha256 "$package"), not to the pinned $sha"
	dpkg-deb -x "$package" "$scratch/tree"
	found=$(find "$scratch/tree" -type f -name 'vmlinuz*')
	[ -f "$found" ] || die "$(basename "$package") has not one kernel in it: ${found:-none}"
	mkdir -p "$(dirname "$image")"
	mv "$found" "$image"
	rm -rf "$scratch"
fi
echo "$image"
