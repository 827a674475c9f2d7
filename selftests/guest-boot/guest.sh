#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The first process of the guest: says what it has, tries its devices, ends as it is told by
# guest_ends= on the kernel's command line. Each line for the host begins with GUEST.

export PATH=/bin
busybox mount -t proc proc /proc
busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
say() { echo "GUEST $*"; }

say "cpus $(nproc)"
say "memory $(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
# The disk: 4 MiB from the host, room for a copy, 1 MiB to be discarded.
say "disk $(head -c 4194304 /dev/vda | md5sum | cut -d' ' -f1)"
dd if=/dev/vda of=/dev/vda bs=1M count=4 seek=4 conv=fsync 2>/dev/null || say "copy failed"
blkdiscard -o 8388608 -l 1048576 /dev/vda || say "discard failed"
# The other disk is read-only.
say "read-only $(cat /sys/block/vdb/ro) $(head -c 512 /dev/vdb | md5sum | cut -d' ' -f1)"
say "random $(head -c 64 /dev/hwrng | wc -c)"
# Where the devices' buffers are.
say "pool $(dmesg | grep -c 'Reserved memory: created restricted DMA pool')"
# Says what time it is, by the clock and by how many sleeps are over, until a line is typed.
clock() {
	while :; do
		say "clock $(cut -d' ' -f1 /proc/uptime)"
		sleep 0.1
	done
}
# shellcheck disable=SC2154 # the kernel puts it into the environment
[ "$guest_ends" != clock ] || clock &
IFS= read -r line
say "typed $line"
case $guest_ends in
reset) reboot -f ;;
panic) echo c >/proc/sysrq-trigger ;;
wait) sleep 1000 ;;
*) poweroff -f ;;
esac
