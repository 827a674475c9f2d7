#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots a host kernel under QEMU on a machine with EL2; its console is standard output.
#
#	scripts/qemu-host.sh --kernel BUILD --initrd FILE [--cpu cortex-a76] [--smp 2] [--mem 1024]
#		[--append WORDS] [--timeout SECONDS] [--icount] [--peer] [--terminal] [--print]
#		[-- QEMU ARGUMENTS]
#
# BUILD is what scripts/kernel.sh printed, or an Image. The command line leaves EL2 to mvirt: the
# kernel stays at EL1 and its KVM off, unless --peer says that KVM is what is to run.
# --terminal gives the machine each key that is typed, Ctrl-A and Ctrl-C too, so it must end by itself.
# --icount makes virtual time a count of instructions, 1 ns each, the same in each run. Ends with
# QEMU's status; 124 when the time is up.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

kernel='' initrd='' cpu=cortex-a76 smp=2 mem=1024 append='' timeout=120 icount=0 peer=0 terminal=0 print=0
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=$2 && shift ;;
	--initrd) initrd=$2 && shift ;;
	--cpu) cpu=$2 && shift ;;
	--smp) smp=$2 && shift ;;
	--mem) mem=$2 && shift ;;
	--append) append=$2 && shift ;;
	--timeout) timeout=$2 && shift ;;
	--icount) icount=1 ;;
	--peer) peer=1 ;;
	--terminal) terminal=1 ;;
	--print) print=1 ;;
	--) shift && break ;;
	*) die "unknown argument \"$1\"; see the head of $0" ;;
	esac
	shift
done
if [ -z "$kernel" ] || [ -z "$initrd" ]; then die "--kernel and --initrd are needed; see the head of $0"; fi
[ ! -d "$kernel" ] || kernel=$kernel/arch/arm64/boot/Image
[ -r "$kernel" ] || die "no kernel image at $kernel"
have qemu-system-aarch64 || die "no qemu-system-aarch64: scripts/setup.sh qemu"

machine=virt,virtualization=on,gic-version=3
words="console=ttyAMA0 panic=-1"
# A kernel that was entered at EL2 stays there if the core lets it; cores without FEAT_VHE ignore this.
[ "$peer" = 1 ] || words+=" id_aa64mmfr1.vh=0 kvm-arm.mode=none"
qemu=(qemu-system-aarch64 -cpu "$cpu" -smp "$smp" -m "$mem" -nic none -no-reboot
	-kernel "$kernel" -initrd "$initrd")
if [ "$terminal" = 1 ]; then
	# -nographic has an escape key, Ctrl-A, which is the tool's here.
	qemu+=(-display none -monitor none -chardev "stdio,id=terminal,signal=off" -serial chardev:terminal)
else
	qemu+=(-nographic)
fi
if [ "$icount" = 1 ]; then
	machine+=,dtb-randomness=off
	words+=" nokaslr"
	qemu+=(-icount "shift=0,sleep=off" -rtc "base=2026-01-01,clock=vm" -seed 1)
fi
qemu+=(-machine "$machine" -append "$words $append" "$@")
if [ "$print" = 1 ]; then
	printf '%q ' "${qemu[@]}"
	echo
	exit
fi
if [ "$timeout" = 0 ]; then
	exec "${qemu[@]}"
fi
# --foreground: with a terminal, what is typed still reaches the machine.
exec timeout --foreground --kill-after=5 "$timeout" "${qemu[@]}"
