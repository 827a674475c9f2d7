#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a guest's operations cost, in instructions by exception level: the same payload and the same
# small VMM (selftests/bench) on KVM nVHE, on pKVM and on mvirt. Each host has one CPU and runs under
# icount, so that the figures are the same in each run. Left in build/results/bench.json.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

# Peers are compared on the one kernel whose pKVM runs protected guests.
known=7.3.4
version=${BENCH_KERNEL:-$known}
kernel=$("$root/scripts/kernel.sh" --version "$version")
module=$("$root/scripts/module.sh" --version "$version")
source=$(KDIR='' "$root/scripts/kernel.sh" --version 6.18.15 --source)
out=$root/build/bench
mkdir -p "$out"

logged "$out/build.log" make -C "$root/selftests" O="$out/vmm" KSRC="$source" -j"$jobs" "$out/vmm/bin/bench/bench"
logged "$out/plugin.log" "${HOSTCC:-cc}" -O2 -Wall -Wextra -Wno-unused-parameter -shared -fPIC \
	-fvisibility=hidden -o "$out/count.so" "$root/scripts/bench/count.c"
"$root/scripts/rootfs.sh" --init "$root/scripts/bench/init" --output "$out/operations.gz" \
	"$module:/mvirt.ko" "$out/vmm/bin/bench/bench:/bin/bench"

nvhe='id_aa64mmfr1.vh=0'
pkvm='kvm-arm.mode=protected arm64_sw.hvhe=0 id_aa64mmfr1.vh=0'
systems=()
measure() { # NAME DEVICE GUESTS WORDS [--peer]
	local place=$out/${1// /-}
	say bench "$1"
	mkdir -p "$place"
	rm -f "$place/counts"
	# No polling for interrupts: under icount it would be counted as if it were work.
	"$root/scripts/qemu-host.sh" --kernel "$kernel" --initrd "$out/operations.gz" --icount --smp 1 --timeout 300 \
		--append "quiet loglevel=4 kvm.halt_poll_ns=0 device=$2 guests=$3 $4" "${@:5}" -- \
		-plugin "$out/count.so,out=$place/counts" >"$place/console" </dev/null ||
		die "the host of $1 did not end by itself; its console is $place/console"
	systems+=("$1=$place")
}
measure 'KVM nVHE' /dev/kvm normal "$nvhe" --peer
measure 'pKVM np' /dev/kvm normal "$pkvm" --peer
measure 'pKVM pVM' /dev/kvm protected "$pkvm" --peer
measure 'mvirt' /dev/mvirt normal ''
measure 'mvirt protected' /dev/mvirt protected ''
elsewhere=()
[ "$version" = "$known" ] || elsewhere=(--elsewhere)
exec "$root/scripts/bench/table.py" --output "$root/build/results/bench.json" "${elsewhere[@]}" "${systems[@]}"
