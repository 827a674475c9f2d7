#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own KVM selftests (tools/testing/selftests/kvm of Linux 7.3.4) on /dev/mvirt, or, to
# compare, on KVM.
#
#	scripts/kvm-selftests.sh [--kernel 6.18.15] [--variant 4k] [--cpu cortex-a76] [--peer] [TEST ...]
#
# scripts/config/kvm-selftests.list says which tests there are, with which arguments each runs, and
# which are expected to fail, with the reason. Without a TEST all of that list run. The results go to
# build/results/kvm-selftests.json, the console to build/logs/. A test that fails and is not expected
# to, or passes and is expected to fail, is a failure of this script; a skip is counted as a skip. With
# --peer nothing is expected: the results are KVM's, and go to kvm-selftests-peer.json.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

version=${KERNEL:-6.18.15}
variant=${VARIANT:-4k}
cpu=cortex-a76
peer=0
wanted=()
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) version=$2 && shift ;;
	--variant) variant=$2 && shift ;;
	--cpu) cpu=$2 && shift ;;
	--peer) peer=1 ;;
	-*) die "unknown argument \"$1\"; see the head of $0" ;;
	*) wanted+=("$1") ;;
	esac
	shift
done

kernel=(--version "$version" --variant "$variant")
kdir=$("$root/scripts/kernel.sh" "${kernel[@]}")
source=$(KDIR='' "$root/scripts/kernel.sh" --version 7.3.4 --source)
out=$root/build/kvm-selftests
mkdir -p "$out/bin" "$out/tools" "$root/build/logs" "$root/build/results"
locked "kvm-selftests-$(sha256sum <<<"$out" | cut -c1-10)"

# NAME<tab>SECONDS<tab>ARGUMENTS<tab>pass|REASON, without comments.
list=$(grep -v '^#' "$root/scripts/config/kvm-selftests.list")
if [ "${#wanted[@]}" != 0 ]; then
	for name in "${wanted[@]}"; do
		grep -q "^$name	" <<<"$list" || die "no test \"$name\" in scripts/config/kvm-selftests.list"
	done
	list=$(awk -F'\t' 'NR == FNR { is[$1]; next } $1 in is' <(printf '%s\n' "${wanted[@]}") - <<<"$list")
fi
names=$(cut -f1 <<<"$list")

say build "the KVM selftests of Linux 7.3.4"
# lib.mk takes the flags of the linker from the environment; the generated headers stay out of the source.
logged "$out/headers.log" make -C "$source" O="$out/headers" ARCH=arm64 "LLVM=-$llvm" \
	INSTALL_HDR_PATH="$out/usr" headers_install
targets=()
for name in $names; do
	mkdir -p "$out/bin/$(dirname "$name")"
	targets+=("$out/bin/$name")
done
LDFLAGS=-static logged "$out/make.log" make -C "$source/tools/testing/selftests/kvm" -j"$jobs" ARCH=arm64 \
	CC=aarch64-linux-gnu-gcc OUTPUT="$out/bin" abs_objdir="$out" "KHDR_INCLUDES=-isystem $out/usr/include" \
	"${targets[@]}"

files=()
while IFS= read -r name; do
	files+=("$out/bin/$name:/kvm/$name")
done <<<"$names"
printf '%s\n' "$list" >"$out/list"
files+=("$out/list:/kvm/list")
[ "$peer" = 1 ] || files+=("$("$root/scripts/module.sh" "${kernel[@]}"):/modules/mvirt.ko")
"$root/scripts/rootfs.sh" --init "$root/scripts/config/kvm-selftests-init.sh" --output "$out/initramfs.gz" \
	"${files[@]}"

label=mvirt
boot=(--kernel "$kdir" --initrd "$out/initramfs.gz" --cpu "$cpu" --smp 2 --mem 3072 --timeout 1500)
if [ "$peer" = 1 ]; then
	label=peer
	boot+=(--peer --append 'id_aa64mmfr1.vh=0 quiet loglevel=4')
else
	boot+=(--append 'quiet loglevel=4')
fi
log=$root/build/logs/kvm-selftests-$label.log
say boot "$(wc -l <<<"$names") tests on $label, Linux $version ($variant), $cpu; console: ${log#"$root"/}"
"$root/scripts/qemu-host.sh" "${boot[@]}" >"$log" 2>&1 </dev/null || true
grep -aq '^KVM-SELFTEST finished' "$log" || die "the machine did not come to its end; its console is $log"

results=$root/build/results/kvm-selftests.json
[ "$peer" = 0 ] || results=$root/build/results/kvm-selftests-peer.json
json=()
while IFS=$'\t' read -r name _ arguments expected; do
	read -r status seconds < <(sed -nE "s|^KVM-SELFTEST $name ([0-9]+) ([0-9]+)\r?\$|\\1 \\2|p" "$log" | tail -n 1) ||
		die "no result of $name in $log"
	[ "$arguments" != - ] || arguments=''
	case $status in
	0) result=pass ;;
	4) result=skip ;;
	*) result=fail ;;
	esac
	json+=("$(printf '{"test": "%s", "arguments": "%s", "result": "%s", "status": %s, "seconds": %s, "expected": "%s"}' \
		"$name" "$arguments" "$result" "$status" "$seconds" "${expected//\"/}")")
	line="$name${arguments:+ $arguments} ($seconds s)"
	if [ "$peer" = 1 ]; then
		say "$result" "$line"
	elif [ "$result" = pass ] && [ "$expected" = pass ]; then
		passes "$line"
	elif [ "$result" = skip ]; then
		skips "$line: $expected"
	elif [ "$result" = fail ] && [ "$expected" != pass ]; then
		note "expected: $name fails: $expected"
	else
		fails "$line: $result, expected: $expected"
	fi
done <<<"$list"
{
	echo '['
	(IFS=$'\n'; sed '$!s/$/,/' <<<"${json[*]}")
	echo ']'
} >"$results"
note "results: ${results#"$root"/}"
[ "$peer" = 1 ] || tally kvm-selftests || exit 1
