#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What a guest's operations cost, in instructions by exception level: the same payload and the same
# small VMM (selftests/bench) on KVM, on pKVM and on mvirt. Each host has one CPU and runs under icount,
# so that the figures are the same in each run. Left in build/results/bench.json.
#
# The peers run on Debian's build of the kernel, for which their figures are known, mvirt on ours, which
# modules can be built for. Where Debian's cannot be had the peers run on ours too, and nothing is compared.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

# 7.3.4 is the one kernel whose pKVM runs protected guests.
version=${BENCH_KERNEL:-7.3.4}
kernel=$("$root/scripts/kernel.sh" --version "$version")
module=$("$root/scripts/module.sh" --version "$version")
known=(--known "$version")
words=''
if peers=$("$root/scripts/bench/peer-kernel.sh" "$version"); then
	words=$("$root/scripts/bench/peer-kernel.sh" "$version" --words)
else
	note "the peers run on our build of Linux $version: their figures are compared with nothing"
	peers=$kernel
	known=()
fi
source=$(KDIR='' "$root/scripts/kernel.sh" --version 6.18.15 --source)
out=$root/build/bench
mkdir -p "$out"

logged "$out/build.log" make -C "$root/selftests" O="$out/vmm" KSRC="$source" -j"$jobs" "$out/vmm/bin/bench/bench"
logged "$out/plugin.log" "${HOSTCC:-cc}" -O2 -Wall -Wextra -Wno-unused-parameter -shared -fPIC \
	-fvisibility=hidden -o "$out/count.so" "$root/scripts/bench/count.c"
"$root/scripts/rootfs.sh" --init "$root/scripts/bench/init" --output "$out/operations.gz" \
	"$module:/mvirt.ko" "$out/vmm/bin/bench/bench:/bin/bench"

vhe=''
nvhe='id_aa64mmfr1.vh=0'
pkvm='kvm-arm.mode=protected arm64_sw.hvhe=0 id_aa64mmfr1.vh=0'
systems=()
measure() { # NAME KERNEL DEVICE GUESTS WORDS [--peer]
	local place=$out/${1//[ +]/-}
	say bench "$1"
	mkdir -p "$place"
	rm -f "$place/counts"
	# No polling for interrupts: under icount it would be counted as if it were work.
	"$root/scripts/qemu-host.sh" --kernel "$2" --initrd "$out/operations.gz" --icount --smp 1 --timeout 300 \
		--append "quiet loglevel=4 kvm.halt_poll_ns=0 device=$3 guests=$4 $5" "${@:6}" -- \
		-plugin "$out/count.so,out=$place/counts" >"$place/console" </dev/null ||
		die "the host of $1 did not end by itself; its console is $place/console"
	systems+=("$1=$place")
}
peer() { # NAME GUESTS WORDS
	measure "$1" "$peers" /dev/kvm "$2" "$3" --peer
}
peer 'KVM VHE' normal "$vhe $words"
peer 'KVM nVHE' normal "$nvhe $words"
peer 'pKVM np' normal "$pkvm $words"
[ "$version" != 7.3.4 ] || peer 'pKVM pVM' protected "$pkvm $words"
if [ -n "$words" ]; then
	# What the words spare the peers, and ours are not spared.
	peer 'KVM nVHE +BHB' normal "$nvhe"
	[ "$version" != 7.3.4 ] || peer 'pKVM pVM +BHB' protected "$pkvm"
fi
measure 'mvirt' "$kernel" /dev/mvirt normal ''
measure 'mvirt protected' "$kernel" /dev/mvirt protected ''
exec "$root/scripts/bench/table.py" --output "$root/build/results/bench.json" "${known[@]}" "${systems[@]}"
