#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tests that need no machine of their own: the workspace's (EL2 logic in the simulator, the
# contract, the tool) and those of the scripts. Arguments go to "cargo test".

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

rust_env
cd "$root"
log=$root/build/test.log
mkdir -p build

# Beside cargo's, which compile and link on one core at a time.
run_scripts() {
	local script of
	for script in "$root"/scripts/test/*.sh; do
		of=$root/build/test-$(basename "$script" .sh)
		rm -f "$of.passed"
		! "$script" >"$of.log" 2>&1 </dev/null || touch "$of.passed"
	done
}
run_scripts &
beside=$!

status=0
if [ "$verbose" != 0 ]; then
	cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log" >&2 || status=$?
else
	say test "cargo test; log: build/test.log"
	cargo test --locked --no-fail-fast "$@" >"$log" 2>&1 || status=$?
fi

# "Running unittests src/lib.rs (target/...)" and "Doc-tests NAME" open a suite, "test result:" ends it.
suite=''
while read -r line; do
	case $line in
	*Running\ *) suite=$(sed -E 's/.*Running (unittests )?([^ ]+) \(.*\/([a-z_0-9]+)-[0-9a-f]+\).*/\3 (\2)/' <<<"$line") ;;
	*Doc-tests\ *) suite="${line##*Doc-tests } (documentation)" ;;
	"test result:"*)
		read -r good bad idle < <(sed -E 's/.* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored.*/\1 \2 \3/' <<<"$line")
		[ "$good" = 0 ] || passes "$suite: $good" "$good"
		[ "$bad" = 0 ] || fails "$suite: $bad" "$bad"
		[ "$idle" = 0 ] || skips "$suite: $idle ignored" "$idle"
		;;
	esac
done <"$log"
if [ "$status" != 0 ]; then
	grep -E '^(test .* FAILED|error|---- )|panicked at' "$log" | head -n 40 | sed 's/^/            | /' >&2 || true
	# A crate that does not compile has no failed test to count.
	[ "$failed" != 0 ] || fails "cargo test ended with status $status; its log is $log"
fi

# The runner of the selftests: one that cannot see a failure would pass everything.
runner=$root/scripts/selftest/test_runner.py log=$root/build/test-runner.log
result=0
PYTHONDONTWRITEBYTECODE=1 python3 "$runner" >"$log" 2>&1 </dev/null || result=$?
number() { sed -nE "$1" "$log" | tail -n 1; }
ran=$(number 's/^Ran ([0-9]+) tests? in .*/\1/p')
idle=$(number 's/^(OK|FAILED) \(.*skipped=([0-9]+).*/\2/p')
# A test of several parts can fail in more than one, and is one test.
bad=$(grep -E '^(FAIL|ERROR): ' "$log" | awk '{ print $2, $3 }' | sort -u | wc -l || true)
[ "$result" = 0 ] || tail -n 20 "$log" | sed 's/^/            | /' >&2
good=$((${ran:-0} - bad - ${idle:-0}))
# No count; none failed and yet it did; what failed was no test.
if [ -z "$ran" ] || [ $((result != 0)) != $((bad != 0)) ] || [ "$good" -lt 0 ]; then
	fails "scripts/selftest/test_runner.py ended with status $result; its log is $log"
else
	[ "$good" = 0 ] || passes "scripts/selftest/test_runner.py: $good" "$good"
	[ "$bad" = 0 ] || fails "scripts/selftest/test_runner.py: $bad" "$bad"
	[ -z "$idle" ] || skips "scripts/selftest/test_runner.py: $idle skipped" "$idle"
fi

wait "$beside"
for script in "$root"/scripts/test/*.sh; do
	name=$(basename "$script" .sh)
	if [ -f "$root/build/test-$name.passed" ]; then
		passes "scripts/test/$name.sh"
	else
		tail -n 20 "$root/build/test-$name.log" | sed 's/^/            | /' >&2
		fails "scripts/test/$name.sh"
	fi
done
tally test || exit 1
