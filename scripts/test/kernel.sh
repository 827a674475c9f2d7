#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What kernel.sh refuses, what its key depends on, and two runs at a time. The cache is empty; the only
# source that is fetched and built is one that is made here.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset KDIR KERNEL VARIANT
export MVIRT_CACHE=$work/cache
mkdir -p "$work/tree"
cp -r "$root/scripts" "$work/tree/"
kernel=$work/tree/scripts/kernel.sh

refuses() { # WORDS-OF-THE-MESSAGE COMMAND...
	local words=$1 output
	shift
	if output=$("$@" 2>&1); then die "not refused: $*"; fi
	grep -qF -- "$words" <<<"$output" || die "\"$words\" is not in what $* said: $output"
}

refuses 'is not in scripts/config/kernels' "$kernel" --version 6.18.14
refuses 'no kernel variant "64k"' "$kernel" --variant 64k
echo 'not a kernel' >"$work/tarball"
refuses 'is none of the pinned sources' "$kernel" --source --tarball "$work/tarball"
[ ! -e "$work/cache/src" ] || [ -z "$(ls "$work/cache/src")" ] || die "a source came of a wrong tarball"

# A vendor's tree: each part that is missing is named.
export KDIR=$work/vendor
refuses 'is not a directory' "$kernel"
mkdir -p "$KDIR/include/config" "$KDIR/include/generated"
refuses 'has no .config' "$kernel"
echo CONFIG_ARM64=y >"$KDIR/.config"
refuses 'has no Makefile' "$kernel"
touch "$KDIR/Makefile" "$KDIR/include/config/kernel.release" "$KDIR/include/generated/autoconf.h"
refuses 'has no Module.symvers' "$kernel"
touch "$KDIR/Module.symvers"
refuses 'without CONFIG_RUST=y' "$kernel"
echo CONFIG_RUST=y >>"$KDIR/.config"
echo CONFIG_ARM64_64K_PAGES=y >>"$KDIR/.config"
refuses '4 and 16 KiB are served: CONFIG_ARM64_4K_PAGES' "$kernel"
sed -i /64K/d "$KDIR/.config"
[ "$("$kernel")" = "$(realpath "$KDIR")" ] || die "a good vendor's tree was not taken"
unset KDIR

# The key: the same for the same input, another for each input that changes.
first=$("$kernel" --key)
[ "$("$kernel" --key)" = "$first" ] || die "the key is not stable"
seen=("$first")
differs() { # WHAT
	local key other
	key=$("$kernel" --key "${@:2}")
	for other in "${seen[@]}"; do [ "$key" != "$other" ] || die "$1 does not change the key"; done
	seen+=("$key")
}
differs 'the variant' --variant 16k
differs 'the version' --version 7.3.4
echo 'CONFIG_A=y' >>"$work/tree/scripts/config/host.config"
differs 'a fragment'
echo >>"$work/tree/scripts/patches/6.18.15/0001-rust-irq-bound-the-callbacks-by-static.patch"
differs 'a patch'
sed -i '/^6.18.15 *url/s/7c7162/7c7163/' "$work/tree/scripts/config/kernels"
differs 'a pinned sum'
mkdir "$work/bin"
printf '#!/bin/sh\necho bindgen 9.9.9\n' >"$work/bin/bindgen"
chmod +x "$work/bin/bindgen"
CARGO_HOME=$work PATH=$work/bin:$PATH differs 'the version of a tool'

# Two variants of one version, both at once, with nothing there: the source is unpacked once, and both
# builds succeed. The source is big enough that the second run comes while the first unpacks.
fake=$work/fake/linux-1.2.3
mkdir -p "$fake"
cat >"$fake/Makefile" <<'MAKEFILE'
allnoconfig:
	cat $(KCONFIG_ALLCONFIG) >$(O)/.config
Image modules: filler
	echo $@ >>$(O)/made
MAKEFILE
head -c 80M /dev/zero >"$fake/filler"
tar -cJf "$work/fake.tar.xz" -C "$work/fake" linux-1.2.3
printf '%s\n' "1.2.3 url $(sha256 "$work/fake.tar.xz") file://$work/fake.tar.xz" >>"$work/tree/scripts/config/kernels"
"$kernel" --version 1.2.3 >"$work/first" 2>"$work/first.log" &
first=$!
"$kernel" --version 1.2.3 --variant 16k >"$work/second" 2>"$work/second.log" || die "beside another: $(cat "$work/second.log")"
wait "$first" || die "beside another: $(cat "$work/first.log")"
[ "$(cat "$work"/{first,second}.log | grep -c ' unpack ')" = 1 ] || die "two runs unpacked one source"
for run in first second; do
	[ "$(LC_ALL=C sort "$(<"$work/$run")/made" | paste -sd' ')" = 'Image modules' ] || die "the $run of two runs built nothing"
done
[ "$(<"$work/first")" != "$(<"$work/second")" ] || die "two variants share a build"
source=$("$kernel" --version 1.2.3 --source)
cmp "$source/filler" "$fake/filler"
[ -z "$(find "$work/cache" -name '*partial*' -path '*/src/*')" ] || die "a part of a source stayed"
