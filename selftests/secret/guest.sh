#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The first process of a guest that keeps a secret: says it, then does what it is told, a line each,
# until it is to power itself off. Each line for the host begins with GUEST.

export PATH=/bin
busybox mount -t proc proc /proc
busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
say() { echo "GUEST $*"; }
fails() { say "failed: $*"; }

# Written, synced, out of the page cache, read again: what comes back was on the disk.
disk_round_trip() {
	mount -t ext4 /dev/vda /mnt || return
	dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null
	cp /tmp/data /mnt/data && sync && echo 3 >/proc/sys/vm/drop_caches &&
		cmp /tmp/data /mnt/data && rm /tmp/data /mnt/data && umount /mnt
}

mkdir -p /mnt
say "up $(cut -d' ' -f1 /proc/uptime) $(nproc) $(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
keep /tmp/secret
while IFS= read -r line; do
	case $line in
	answer\ *) say "answer $(echo "${line#answer }" | md5sum | cut -d' ' -f1)" ;;
	kept) kill -USR1 "$(pidof keep)" || fails "no keep" ;;
	disk) if disk_round_trip; then say "disk held"; else fails "the disk round trip"; fi ;;
	off) poweroff -f ;;
	*) fails "not understood: $line" ;;
	esac
done
