#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Packs an initramfs for a test machine: arm64 busybox, an init, and the files that the caller names.
#
#	scripts/rootfs.sh [--init FILE] --output FILE.gz [SOURCE:PLACE ...]
#
# Without an init it has the files alone, to be put behind another archive, as the kernel takes them.
# PLACE is an absolute path in the machine; SOURCE keeps its mode. The same input gives the same
# bytes.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

init='' output='' files=()
while [ $# -gt 0 ]; do
	case $1 in
	--init) init=$2 && shift ;;
	--output) output=$2 && shift ;;
	*:/*) files+=("$1") ;;
	*) die "not SOURCE:/PLACE: \"$1\"; see the head of $0" ;;
	esac
	shift
done
[ -n "$output" ] || die "--output is needed; see the head of $0"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
if [ -n "$init" ]; then
	busybox=${BUSYBOX:-$cache/busybox/busybox}
	[ -x "$busybox" ] || die "no busybox at $busybox: scripts/setup.sh qemu"
	mkdir -p "$stage"/{bin,dev,proc,sys,tmp}
	cp "$busybox" "$stage/bin/busybox"
	ln -s busybox "$stage/bin/sh"
	install -m 755 "$init" "$stage/init"
fi
for pair in "${files[@]}"; do
	mkdir -p "$stage$(dirname "${pair#*:}")"
	cp -p "${pair%%:*}" "$stage${pair#*:}"
done
mkdir -p "$(dirname "$output")"
find "$stage" -exec touch --no-dereference --date=@0 {} +
(cd "$stage" && find . | LC_ALL=C sort | cpio --quiet --create --format=newc --owner=+0:+0 --reproducible) |
	gzip -n -1 >"$output"
