#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots a host, lets mvirt take EL2, and shows what "mvirt info" says there.
#
#	scripts/run.sh [--shell] [ARGUMENTS OF qemu-host.sh]
#
# --shell leaves a shell in the machine; "poweroff -f" ends it.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

append='' timeout=120
if [ "${1:-}" = --shell ]; then
	append=mvirt.shell timeout=0
	shift
fi
kernel=$("$root/scripts/kernel.sh")
module=$("$root/scripts/module.sh")
tool=$("$root/scripts/tool.sh")
image=$root/build/run/initramfs.gz console=$root/build/run/console.log
"$root/scripts/rootfs.sh" --init "$root/scripts/run/init" --output "$image" \
	"$module:/mvirt.ko" "$tool:/bin/mvirt"
say boot "Linux with mvirt; console in ${console#"$root"/}"
"$root/scripts/qemu-host.sh" --kernel "$kernel" --initrd "$image" --timeout "$timeout" \
	--append "quiet loglevel=5 $append" "$@" | tee "$console"
grep -qa '^run: status 0' "$console" || die "the host did not come to run under mvirt; its console is $console"
