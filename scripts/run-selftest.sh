#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds what the selftests boot, kernel, module and tool, then runs them:
#
#	scripts/run-selftest.sh [ARGUMENTS OF selftest.sh]

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

"$root/scripts/kernel.sh" >/dev/null
MVIRT_KO=$("$root/scripts/module.sh")
MVIRT_TOOL=$("$root/scripts/tool.sh")
export MVIRT_KO MVIRT_TOOL
exec "$root/scripts/selftest.sh" --jobs "$jobs" "$@"
