#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds mvirt.ko against a host kernel, in build/, and prints its path on standard output.
#
#	scripts/module.sh [--version 6.18.15] [--variant 4k] [--debug] [--crash-test]
#
# The sources are copied first, so that builds for different kernels do not meet. --debug checks
# EL2's invariants at each exit (CONFIG_MVIRT_DEBUG), --crash-test lets the host crash EL2
# (CONFIG_MVIRT_CRASH_TEST). KDIR= builds for that tree.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

version=${KERNEL:-6.18.15}
variant=${VARIANT:-4k}
suffix=''
options=()
[ "${DEBUG:-0}" = 0 ] || set -- --debug "$@"

while [ $# -gt 0 ]; do
	case $1 in
	--version) version=$2 && shift ;;
	--variant) variant=$2 && shift ;;
	--debug)
		suffix+=-debug
		options+=(CONFIG_MVIRT_DEBUG=y)
		;;
	--crash-test)
		suffix+=-crash
		options+=(CONFIG_MVIRT_CRASH_TEST=y)
		;;
	*) die "unknown argument \"$1\"; see the head of $0" ;;
	esac
	shift
done

kdir=$("$root/scripts/kernel.sh" --version "$version" --variant "$variant")
out=$root/build/module-$(kernel_label "$kdir" "$version" "$variant")$suffix

rust_env
mkdir -p "$out"
locked "module-$(sha256sum <<<"$out" | cut -c1-10)"

copy_module "$out"
started=$SECONDS
logged "$out.log" make -C "$kdir" M="$out" "${kbuild_args[@]}" CONFIG_MVIRT=m "${options[@]}" modules
[ -f "$out/mvirt.ko" ] || die "Kbuild ended well and made no mvirt.ko; its log is $out.log"
# A vendor's kernel may come from another patch level of the compiler: Kbuild says so and goes on.
warnings=$(grep -iE '(^|: )warning: ' "$out.log" | grep -v 'the compiler differs from the one used to build the kernel' || true)
if [ -n "$warnings" ]; then
	# A second run would find all built and nothing to warn of.
	rm -rf "$out"
	die "the module builds with warnings ($out.log): $warnings"
fi
say module "${out#"$root"/}/mvirt.ko, $(($(stat -c %s "$out/mvirt.ko") / 1024)) KiB, in $(since "$started")"
echo "$out/mvirt.ko"
