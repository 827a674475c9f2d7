#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Packs an initramfs for a test machine: arm64 busybox, an init, and the files that the caller names.
#
#	scripts/rootfs.sh --init FILE --output FILE.gz [SOURCE:PLACE ...]
#
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
if [ -z "$init" ] || [ -z "$output" ]; then die "--init and --output are needed; see the head of $0"; fi
busybox=${BUSYBOX:-$cache/busybox/busybox}
[ -x "$busybox" ] || die "no busybox at $busybox: scripts/setup.sh qemu"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage"/{bin,dev,proc,sys,tmp}
cp "$busybox" "$stage/bin/busybox"
ln -s busybox "$stage/bin/sh"
install -m 755 "$init" "$stage/init"
for pair in "${files[@]}"; do
	mkdir -p "$stage$(dirname "${pair#*:}")"
	cp -p "${pair%%:*}" "$stage${pair#*:}"
done
mkdir -p "$(dirname "$output")"
find "$stage" -exec touch --no-dereference --date=@0 {} +
(cd "$stage" && find . | LC_ALL=C sort | cpio --quiet --create --format=newc --owner=+0:+0 --reproducible) |
	gzip -n -1 >"$output"
