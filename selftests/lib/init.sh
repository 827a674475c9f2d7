#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The first process of a test machine. The kernel hands over selftest="TEST:PROGRAM;PROGRAM..."
# from its command line in the environment. Each program's output goes line by line into the
# kernel's log, so that results and kernel messages stay in order on the one console.

export PATH=/bin
busybox mount -t proc proc /proc
busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
# 4: the kernel no longer logs it when a test drops its caches.
echo 4 >/proc/sys/vm/drop_caches
mount -t tmpfs tmpfs /tmp
# The log takes records of at most about 1,000 bytes; a longer line is cut.
say() { printf 'TAP: %.900s\n' "$1" >/dev/kmsg; }

# shellcheck disable=SC2154 # the kernel puts it into the environment
test=${selftest%%:*}
programs=${selftest#*:}
cd "/selftests/$test" || say "begin init"
PATH=/selftests/$test:/selftests/lib:/bin

IFS=';'
for program in $programs; do
	IFS=' '
	say "begin $program"
	# shellcheck disable=SC2086 # a program and its arguments
	{
		$program 2>&1 </dev/null
		echo "end $?"
	} | while IFS= read -r line; do say "$line"; done
done
say "finished"
poweroff -f
