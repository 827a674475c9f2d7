#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tests of EL2's logic and its simulator under miri, which sees undefined behaviour that a run
# does not. Property tests run few cases: miri is some hundred times slower.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

unset RUSTC
say miri "$(cargo "+$miri_toolchain" miri --version) ($miri_toolchain)"
export PROPTEST_CASES=${PROPTEST_CASES:-4} MIRIFLAGS="${MIRIFLAGS:-} -Zmiri-disable-isolation"
exec cargo "+$miri_toolchain" miri test --locked --target-dir target/miri -p mvirt-abi -p mvirt-hyp -p mvirt-sim "$@"
