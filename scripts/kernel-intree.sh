#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds a host kernel with mvirt in its tree, as part of it (y) or as a module of it (m), and prints
# a directory in build/ with the Image and, of m, mvirt.ko.
#
#	scripts/kernel-intree.sh y|m [--version 6.18.15] [--variant 4k]
#
# The tree is a copy, by hard links, of the cached source, and each of the two builds starts as a copy
# of the cached build: what is left to do is mvirt itself and the link. Objects are good only for the
# path of the source that they were made from, so make sees the copy at that path, in a mount
# namespace of its own; where there is none to be had, all is built anew.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

version=${KERNEL:-6.18.15} variant=${VARIANT:-4k} how=${1:-}
case $how in
y | m) shift ;;
*) die "usage: $0 y|m [--version VERSION] [--variant VARIANT]" ;;
esac
while [ $# -gt 0 ]; do
	case $1 in
	--version) version=$2 && shift ;;
	--variant) variant=$2 && shift ;;
	*) die "unknown argument \"$1\"; see the head of $0" ;;
	esac
	shift
done
unset KDIR

configured=$("$root/scripts/kernel.sh" --version "$version" --variant "$variant")
source=$("$root/scripts/kernel.sh" --version "$version" --source)
tree=$cache/intree/$(basename "$source")
build=$cache/intree/$(basename "$configured")-$how
out=$root/build/intree/$version-$variant-$how
rust_env
# The tree is one for all variants, and has one checkout's sources at a time.
locked "intree-$version"

if [ ! -d "$tree" ]; then
	say copy "Linux $version for mvirt in its tree"
	rm -rf "$tree.partial"
	mkdir -p "$cache/intree"
	cp -al "$source" "$tree.partial"
	mv "$tree.partial" "$tree"
fi
"$root/scripts/intree.sh" add "$tree"

namespace=(unshare --mount)
[ "$(id -u)" = 0 ] || namespace=(unshare --user --map-root-user --mount)
if "${namespace[@]}" mount --bind "$tree" "$source" 2>/dev/null; then
	# shellcheck disable=SC2016  # the inner shell expands it
	kbuild() { "${namespace[@]}" bash -c 'mount --bind "$1" "$2" && shift && exec nice make -C "$@"' - "$tree" "$source" "$@"; }
	if [ ! -d "$build" ]; then
		rm -rf "$build.partial"
		cp -a "$configured" "$build.partial"
		mv "$build.partial" "$build"
	fi
else
	note "no mount namespace here: the whole kernel is built"
	kbuild() { nice make -C "$tree" "$@"; }
	mkdir -p "$build"
fi

{ grep -v CONFIG_MVIRT "$configured/.config" && echo "CONFIG_MVIRT=$how"; } >"$build/.config.new"
# What Kconfig made of it last time stays if the question is the same: a new .config makes Kbuild
# look at everything again.
cmp -s "$build/.config.new" "$build/.config.asked" || cp "$build/.config.new" "$build/.config"
mv "$build/.config.new" "$build/.config.asked"
logged "$build/config.log" kbuild O="$build" "${kbuild_args[@]}" olddefconfig
grep -qx "CONFIG_MVIRT=$how" "$build/.config" || die "Kconfig did not take CONFIG_MVIRT=$how; see $build/.config"
say build "Linux $version ($variant) with CONFIG_MVIRT=$how; log: $build/build.log"
started=$SECONDS
logged "$build/build.log" kbuild O="$build" "${kbuild_args[@]}" Image modules
note "built in $(since "$started")"
# The next to hold the lock may be another checkout.
made=(arch/arm64/boot/Image)
[ "$how" = y ] || made+=(drivers/virt/mvirt/mvirt.ko)
mkdir -p "$out"
for file in "${made[@]}"; do
	[ -f "$build/$file" ] || die "Kbuild ended well and made no $file; its log is $build/build.log"
	cp "$build/$file" "$out/"
done
echo "$out"
