#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots a host, lets mvirt take EL2, and runs a protected guest there.
#
#	scripts/run.sh [--proof | --shell] [--kvm] [ARGUMENTS OF qemu-host.sh]
#
# With a terminal the guest's shell is in it. Without one, or with --proof, the guest keeps a secret and
# the host looks for it everywhere; then a guest without protection does the same, where it must be
# found. --shell leaves a shell in the host instead. --kvm is without mvirt: a guest without protection
# on the kernel's own KVM, which tells a fault of EL2's from one of the rest.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

does=proof device=/dev/mvirt
if [ -t 0 ] && [ -t 1 ]; then does=guest; fi
while [ $# -gt 0 ]; do
	case $1 in
	--proof) does=proof ;;
	--shell) does=shell ;;
	--kvm) device=/dev/kvm ;;
	*) break ;;
	esac
	shift
done
case $does in
proof) machine=(--mem 1024 --timeout 600) ;;
*) machine=(--mem 2048 --timeout 0) ;;
esac
words="quiet loglevel=5 mvirt_does=$does mvirt_device=$device"
if [ "$does" = guest ]; then
	# A serial console does not know how large the terminal is.
	size=$(stty size)
	words+=" mvirt_rows=${size% *} mvirt_columns=${size#* }"
	machine+=(--terminal)
fi
# cortex-a72 has no FEAT_VHE: KVM runs there as it would beside no mvirt.
[ "$device" != /dev/kvm ] || machine+=(--peer --cpu cortex-a72)

kernel=$("$root/scripts/kernel.sh")
image=$kernel/arch/arm64/boot/Image
module=$("$root/scripts/module.sh")
tool=$("$root/scripts/tool.sh")
out=$root/build/run
console=$out/console.log
files=("$module:/mvirt.ko" "$tool:/bin/mvirt" "$image:/guest/Image")
case $does in
proof)
	say build "the guest with the secret, and who looks for it"
	# None of these needs the kernel's sources.
	logged "$out/programs.log" make -C "$root/selftests" O="$out" KSRC=/none "$out"/bin/secret/{search,keep}
	build_test_modules "$kernel" "$out"
	build_secret_guest "$out"
	files+=("$out/modules/hostile.ko:/hostile.ko" "$out/bin/secret/search:/secret/search")
	files+=("$root/selftests/secret/prove:/secret/prove")
	files+=("$out/secret.gz:/guest/secret.gz" "$out/disk.img:/guest/disk.img")
	;;
guest)
	say build "the guest"
	"$root/scripts/rootfs.sh" --init "$root/scripts/run/guest-init" --output "$out/guest.gz"
	"$root/scripts/disk.sh" "$out/disk.img"
	files+=("$out/guest.gz:/guest/initramfs.gz" "$out/disk.img:/guest/disk.img")
	;;
esac
"$root/scripts/rootfs.sh" --init "$root/scripts/run/init" --output "$out/initramfs.gz" "${files[@]}"

say boot "Linux with mvirt; console in ${console#"$root"/}"
status=0
"$root/scripts/qemu-host.sh" --kernel "$kernel" --initrd "$out/initramfs.gz" --append "$words" \
	"${machine[@]}" "$@" | tee "$console" || status=$?
[ "$status" != 124 ] || die "the host did not end in time; its console is $console"
[ "$status" = 0 ] || die "QEMU ended with status $status; the host's console is $console"

# said PATTERN: what the console said first of the kind, without the returns that a terminal wants.
said() { sed -nE "s/\r//g; /^.*$1\$/{s//\1/p;q}" "$console"; }
failed=$(said 'proof: FAILED: (.*)')
[ -z "$failed" ] || die "$failed; the host's console is $console"
[ "$(said 'run: status ([0-9]+)')" = 0 ] || die "the host's run failed; its console is $console"
figures=''
booted=$(said 'booted in ([0-9.]+ s) of its time.*')
[ -z "$booted" ] || figures+="guest boot $booted of its time, guest memory $(said 'run: guest memory (.*)'), "
figures+="EL2 memory $(said 'run: EL2 memory (.*)'), take-over $(said 'run: take-over (.*)')"
[ "$device" != /dev/mvirt ] || echo "figures: $figures"
