#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the take-over costs: virtual time, memory and code, on hosts of 1, 2 and 4 GiB. Under icount
# a nanosecond is an instruction, so the figures are the same in each run. Then what the operations of
# guests cost (scripts/bench/operations.sh).

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

kernel=$("$root/scripts/kernel.sh")
module=$("$root/scripts/module.sh")
tool=$("$root/scripts/tool.sh")
mkdir -p "$root/build/bench"
"$root/scripts/rootfs.sh" --init "$root/scripts/run/bench-init" --output "$root/build/bench/initramfs.gz" \
	"$module:/mvirt.ko" "$tool:/bin/mvirt"

field() { # CONSOLE KEY: the number of a key of "mvirt info --json"
	sed -nE "s/.*\"$2\": ([0-9]+).*/\1/p" "$1" | head -n 1
}
mib() { awk -v bytes="$1" 'BEGIN { printf "%.2f", bytes / 1048576 }'; }
kib() { awk -v bytes="$1" 'BEGIN { printf "%.1f", bytes / 1024 }'; }

printf '%-8s %5s %12s %12s %14s %10s %12s\n' RAM CPUs take-over 'EL2 memory' 'MemFree taken' .text .rodata
for configuration in '1024 1' '1024 4' '2048 1' '4096 1'; do
	read -r mem smp <<<"$configuration"
	console=$root/build/bench/$mem-$smp.log
	"$root/scripts/qemu-host.sh" --kernel "$kernel" --initrd "$root/build/bench/initramfs.gz" --icount \
		--mem "$mem" --smp "$smp" --timeout 180 --append 'quiet loglevel=4' >"$console" </dev/null ||
		die "the host with $mem MiB and $smp CPUs did not end by itself; its console is $console"
	ns=$(field "$console" takeover_ns)
	[ -n "$ns" ] || die "mvirt did not take EL2 on the host with $mem MiB and $smp CPUs; its console is $console"
	printf '%4d MiB %5d %9s ms %8s MiB %10s MiB %6s KiB %8s KiB\n' "$mem" "$smp" \
		"$(awk -v ns="$ns" 'BEGIN { printf "%.2f", ns / 1e6 }')" \
		"$(mib "$(field "$console" total_bytes)")" \
		"$(mib "$((1024 * $(sed -nE 's/.*bench: memfree_kib (-?[0-9]+).*/\1/p' "$console")))")" \
		"$(kib "$(field "$console" text_bytes)")" "$(kib "$(field "$console" rodata_bytes)")"
done

echo
exec "$root/scripts/bench/operations.sh"
