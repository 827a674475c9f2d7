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

runner=(python3 "$root/scripts/selftest/run.py" --tests "$root/selftests" --matrix "$matrix" --only "$only")
if [ "$list" = 1 ]; then
	exec "${runner[@]}" --list "${tests[@]}"
fi

out=$root/build/selftest/$version-$variant
stage=$out/root
kdir=$("$root/scripts/kernel.sh" --version "$version" --variant "$variant")
# The harness comes from the kernel that mvirt is made for, whatever is booted.
source=$(KDIR='' "$root/scripts/kernel.sh" --version 6.18.15 --source)

build_modules() { # the test-only modules; Kbuild wants them in a directory that it may write to
	rust_env
	mkdir -p "$out/modules"
	cp -u "$root"/selftests/modules/* "$root/selftests/lib/hostile.h" "$out/el2_abi.h" "$out/modules/"
	logged "$out/modules.log" make -C "$kdir" M="$out/modules" "${kbuild_args[@]}" modules
}

stage_root() {
	local test
	rm -rf "$stage"
	mkdir -p "$stage"/{bin,dev,proc,sys,tmp,modules,selftests/lib}
	cp "$busybox" "$stage/bin/busybox"
	ln -s busybox "$stage/bin/sh"
	cp "$root/selftests/lib/init.sh" "$stage/init"
	cp "$root/selftests/lib/load" "$source/tools/testing/selftests/kselftest/ktap_helpers.sh" "$stage/selftests/lib/"
	for test in "$root"/selftests/*/test.toml; do
		test=$(basename "$(dirname "$test")")
		mkdir -p "$stage/selftests/$test"
		find "$root/selftests/$test" -maxdepth 1 -type f -perm -u+x -exec cp {} "$stage/selftests/$test/" \;
		[ ! -d "$out/bin/$test" ] || cp "$out/bin/$test"/* "$stage/selftests/$test/"
	done
	cp "$out/modules/hostile.ko" "$mvirt_module" "$stage/modules/"
	cp "$tool" "$stage/bin/mvirt"
}

say build "selftests for Linux $version ($variant)"
logged "$out.log" make -C "$root/selftests" O="$out" KSRC="$source" -j"$jobs"
build_modules
mvirt_module=${MVIRT_KO:-$root/build/module-$version-$variant/mvirt.ko}
tool=${MVIRT_TOOL:-$root/target/aarch64-unknown-linux-musl/tool/mvirt}
busybox=${BUSYBOX:-$cache/busybox/busybox}
stage_root
(cd "$stage" && find . | sort | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$out/initramfs.gz"

exec "${runner[@]}" --jobs "$machines" --build "$root/build" --initrd "$out/initramfs.gz" \
	--kernel "$kdir/arch/arm64/boot/Image" --label "$version-$variant" "${tests[@]}"
