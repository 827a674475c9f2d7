#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# test.sh counts what cargo, the runner's own tests and the scripts say, and sees each that fails, or
# dies before it counts.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/tree/scripts"/{selftest,test} "$work/bin" "$work/lib/core/src"
cp "$root"/scripts/{lib,test}.sh "$work/tree/scripts/"
printf '#!/bin/sh\necho "rustc 1.85.0"\n' >"$work/bin/rustc"
touch "$work/lib/core/src/lib.rs"

cargo() { # STATUS LINE...: a stand-in for cargo test
	{
		printf '#!/bin/sh\ncat <<LOG\n'
		printf '%s\n' "${@:2}" LOG "exit $1"
	} >"$work/bin/cargo"
}
runner() { # BODY OF A TEST CASE
	printf 'import unittest\nclass T(unittest.TestCase):\n%s\nunittest.main()\n' "$1" >"$work/tree/scripts/selftest/test_runner.py"
}
script() { # NAME STATUS
	printf '#!/bin/sh\nexit %s\n' "$2" >"$work/tree/scripts/test/$1.sh"
	chmod +x "$work/tree/scripts/test/$1.sh"
}
expect() { # STATUS COUNTS
	local status=0
	RUSTC=$work/bin/rustc RUST_LIB_SRC=$work/lib "$work/tree/scripts/test.sh" >"$work/log" 2>&1 || status=$?
	[ "$status" = "$1" ] || die "test.sh ended with $status where $1 was expected: $(<"$work/log")"
	grep -qxE '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$work/log" || die "test.sh did not say its counts: $(<"$work/log")"
	[ "$(<"$work/tree/build/results/test.counts")" = "$2" ] ||
		die "test.sh counts $(<"$work/tree/build/results/test.counts") where $2 was expected: $(<"$work/log")"
}

good=('     Running unittests src/lib.rs (target/debug/deps/mvirt_abi-0123)' 'test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured')
healthy=$'  def test_a(self): pass\n  def test_b(self): pass'

cargo 0 "${good[@]}"
chmod +x "$work/bin"/*
runner "$healthy"
script one 0
script two 0
expect 0 '9 0 1'

script one 1
expect 1 '8 1 1'
script one 0

cargo 101 "${good[@]}" 'test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured'
expect 1 '11 3 1'
cargo 101 'error[E0425]: cannot find value'
expect 1 '4 1 0'
cargo 0 "${good[@]}"

runner $'  def test_a(self): pass\n  def test_b(self): self.fail()\n  def test_c(self): raise OSError\n  def test_d(self): self.skipTest("no")'
expect 1 '8 2 2'
runner $'  def test_a(self):\n    for i in range(3):\n      with self.subTest(i=i): self.fail()\n  def test_b(self): pass'
expect 1 '8 1 1'
runner $'  @classmethod\n  def setUpClass(cls): raise OSError\n  def test_a(self): pass'
expect 1 '7 1 1'
runner 'this is no Python'
expect 1 '7 1 1'
runner $'  def test_a(self): import os; os._exit(0)'
expect 1 '7 1 1'
