#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the selftests with everything that they boot, boots them under QEMU, reports.
#
#	scripts/selftest.sh [--kernel 6.18.15] [--variant 4k] [--matrix smoke|full] [--jobs 2]
#	                    [--only TEXT] [--list] [TEST ...]
#
# TEST is a directory of selftests/; without one all run. One line for each test case and
# configuration, with its seconds of the guest's time and of ours; consoles go to build/logs/,
# results to build/results/selftest.json. The last line is "N passed, N failed, N skipped".

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

version=${KERNEL:-6.18.15}
variant=${VARIANT:-4k}
matrix=smoke
machines=2
list=0
only=''
tests=()

usage() {
	sed -n '/^# Builds/,/^# results/s/^# \{0,1\}//p' "$0" >&2
	exit "${1:-2}"
}

while [ $# -gt 0 ]; do
	case $1 in
	--kernel) version=$2 && shift ;;
	--variant) variant=$2 && shift ;;
	--matrix) matrix=$2 && shift ;;
	--jobs) machines=$2 && shift ;;
	--only) only=$2 && shift ;;
	--list) list=1 ;;
	-h | --help) usage 0 ;;
	-*) usage ;;
	*) tests+=("$1") ;;
	esac
	shift
done

# A vendor's kernel is what it was configured as, whatever VARIANT says.
pages=$variant
if [ -n "${KDIR:-}" ] && [ -e "$KDIR/.config" ]; then
	pages=4k
	! grep -qx CONFIG_ARM64_16K_PAGES=y "$KDIR/.config" || pages=16k
fi
runner=(python3 "$root/scripts/selftest/run.py" --tests "$root/selftests" --matrix "$matrix" --only "$only")
runner+=(--version "$version" --variant "$pages")
planned=$("${runner[@]}" --list "${tests[@]}") || exit
if [ "$list" = 1 ]; then
	echo "$planned"
	exit
fi

kernel=(--version "$version" --variant "$variant")
kdir=$("$root/scripts/kernel.sh" "${kernel[@]}")
label=$(kernel_label "$kdir" "$version" "$variant")
out=$root/build/selftest/$label
# The harness comes from the kernel that mvirt is made for, whatever is booted.
source=$(KDIR='' "$root/scripts/kernel.sh" --version 6.18.15 --source)

# A runner that cannot see a failure would pass everything.
logged "$out-runner.log" "$root/scripts/selftest/test_runner.py"

say build "selftests for Linux $version ($variant)"
mkdir -p "$out"
# An EL2 image is compiled by one rustc after the other: the second module keeps the other core busy.
crash_ko=${MVIRT_CRASH_KO:-} crash=''
if [ -z "$crash_ko" ] && grep -q 'load mvirt-crash' <<<"$planned"; then
	"$root/scripts/module.sh" "${kernel[@]}" --crash-test >"$out/crash-ko" &
	crash=$!
fi
rust_env
rust_arm64
logged "$out.log" make -C "$root/selftests" O="$out" KSRC="$source" RUST_ARM64="$rust_arm64 $rust_arm64_flags" -j"$jobs"
build_test_modules "$kdir" "$out"
# What goes into the initramfs, as scripts/rootfs.sh takes it.
files=("${MVIRT_TOOL:-$("$root/scripts/tool.sh")}:/bin/mvirt")
files+=("${MVIRT_KO:-$("$root/scripts/module.sh" "${kernel[@]}")}:/modules/mvirt.ko")
if [ -n "$crash" ]; then
	wait "$crash"
	crash_ko=$(<"$out/crash-ko")
fi
[ -z "$crash_ko" ] || files+=("$crash_ko:/modules/mvirt-crash.ko")
images=(--kernel "$kdir/arch/arm64/boot/Image")
if grep -q '^intree-builtin ' <<<"$planned"; then
	builtin=$("$root/scripts/kernel-intree.sh" y "${kernel[@]}")
	images+=(--kernel "builtin=$builtin/Image")
fi
if grep -q '^intree-module ' <<<"$planned"; then
	intree=$("$root/scripts/kernel-intree.sh" m "${kernel[@]}")
	images+=(--kernel "intree=$intree/Image")
	files+=("$intree/mvirt.ko:/modules/mvirt-intree.ko")
fi
for module in freed hostile rival; do files+=("$out/modules/$module.ko:/modules/$module.ko"); done
files+=("$source/tools/testing/selftests/kselftest/ktap_helpers.sh:/selftests/lib/ktap_helpers.sh")
# Scripts, and the programs made of the C files.
while read -r file; do
	files+=("$file:/selftests/$(basename "$(dirname "$file")")/$(basename "$file")")
done < <(find "$root"/selftests/*/ "$out"/bin/*/ -maxdepth 1 -type f -perm -u+x ! -name init.sh)
"$root/scripts/rootfs.sh" --init "$root/selftests/lib/init.sh" --output "$out/initramfs.gz" "${files[@]}"

# Machines that run guests have one more archive behind the initramfs; the others would only unpack
# it in vain. The kernel takes several, one after the other.
if grep -qE '^(guest-|secret |release +k|suspend +linux)' <<<"$planned"; then
	"$root/scripts/rootfs.sh" --init "$root/selftests/guest-boot/guest.sh" --output "$out/guest.gz"
	build_secret_guest "$out"
	# Behind the other guest's initramfs it takes the place of its init.
	"$root/scripts/rootfs.sh" --output "$out/sleep-init.gz" "$root/selftests/suspend/linux-init:/init"
	"$root/scripts/rootfs.sh" --output "$out/guest-files.gz" \
		"$kdir/arch/arm64/boot/Image:/guest/Image" "$out/guest.gz:/guest/initramfs.gz" \
		"$out/secret.gz:/guest/secret.gz" "$out/sleep-init.gz:/guest/sleep-init.gz" "$out/disk.img:/guest/disk.img"
	cat "$out/initramfs.gz" "$out/guest-files.gz" >"$out/initramfs-guest.gz"
	images+=(--guest "$out/initramfs-guest.gz")
fi

# The same for the guests that are Debian's, which only their test asks to be fetched.
if grep -q '^debian-guest ' <<<"$planned"; then
	"$root/scripts/setup.sh" debian
	debian=$("$root/scripts/debian-guest.sh")
	own=$root/selftests/debian-guest
	mapfile -t drivers < <(find "$debian/modules" -type f -printf '%p:/modules/%f\n' | sort)
	"$root/scripts/rootfs.sh" --init "$own/guest-init" --output "$out/debian.gz" "${drivers[@]}" \
		"$own/service/serve:/service/serve" "$own/service/mvirt.service:/service/mvirt.service"
	"$root/scripts/rootfs.sh" --output "$out/serial-init.gz" "$own/serial-init:/init"
	cat "$debian/small.gz" "$out/serial-init.gz" >"$out/serial.gz"
	"$root/scripts/rootfs.sh" --init "$own/sockets-init" --output "$out/sockets.gz" "$out/bin/debian-guest/talk:/bin/talk"
	"$root/scripts/rootfs.sh" --output "$out/debian-files.gz" \
		"$debian/vmlinuz:/guest/vmlinuz" "$debian/packages:/guest/packages" "$out/debian.gz:/guest/debian.gz" \
		"$out/serial.gz:/guest/serial.gz" "$kdir/arch/arm64/boot/Image:/guest/Image" \
		"$out/sockets.gz:/guest/sockets.gz"
	cat "$out/initramfs.gz" "$out/debian-files.gz" >"$out/initramfs-debian.gz"
	images+=(--debian "$out/initramfs-debian.gz" --disk "$debian/root.img")
fi

exec "${runner[@]}" --jobs "$machines" --build "$root/build" --initrd "$out/initramfs.gz" --blobs "$out" \
	"${images[@]}" --label "$label" "${tests[@]}"
