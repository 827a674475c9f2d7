#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes a raw disk image with an ext4 filesystem and a greeting in it, for a guest.
#
#	scripts/disk.sh OUTPUT [SIZE]

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

output=${1:?OUTPUT is needed; see the head of $0}
have mke2fs || die "no mke2fs: scripts/setup.sh qemu"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
echo 'This file is on the disk of the guest.' >"$stage/hello"
mkdir -p "$(dirname "$output")"
rm -f "$output"
# Without its tables of inodes and its journal written out, most of it is a hole.
logged "$output.log" mke2fs -q -t ext4 -d "$stage" -L guest "$output" "${2:-32M}"
