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

for script in "$root"/scripts/test/*.sh; do
	name=$(basename "$script" .sh)
	if "$script" >"$root/build/test-$name.log" 2>&1; then
		passes "scripts/test/$name.sh"
	else
		tail -n 20 "$root/build/test-$name.log" | sed 's/^/            | /' >&2
		fails "scripts/test/$name.sh"
	fi
done
tally test || exit 1
