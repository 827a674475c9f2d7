#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The first process of a machine that runs the kernel's KVM selftests: /dev/kvm is mvirt's device
# if there is a module, else KVM's own.

export PATH=/bin
busybox mount -t proc proc /proc
busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
if [ -e /modules/mvirt.ko ]; then
	insmod /modules/mvirt.ko || poweroff -f
	ln -s mvirt /dev/kvm
fi

tab=$(printf '\t')
while IFS="$tab" read -r name seconds arguments _; do
	echo "KVM-SELFTEST begin $name $arguments"
	[ "$arguments" != - ] || arguments=''
	started=$(cut -d. -f1 /proc/uptime)
	# shellcheck disable=SC2086 # the arguments are words
	timeout "$seconds" "/kvm/$name" $arguments </dev/null
	status=$?
	ended=$(cut -d. -f1 /proc/uptime)
	echo
	echo "KVM-SELFTEST $name $status $((ended - started))"
done </kvm/list
echo "KVM-SELFTEST finished"
poweroff -f
