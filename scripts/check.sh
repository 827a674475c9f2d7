#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# All that a change must pass: the tests, the lints, and a smoke matrix of the selftests under
# QEMU. Each section runs even if one before it failed; the last line adds up their counts.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

began=$SECONDS
status=0
rm -rf "$root/build/results"
mkdir -p "$root/build/results"

section() { # NAME COMMAND...: a section that left no counts did not run, and counts as failed
	local name=$1 started=$SECONDS good bad idle
	shift
	"$@" || status=1
	if [ ! -f "$root/build/results/$name.counts" ]; then
		echo "0 1 0" >"$root/build/results/$name.counts"
		status=1
	fi
	read -r good bad idle <"$root/build/results/$name.counts"
	say "$name" "$good good, $bad bad, $idle left out, in $(since "$started")"
}

# shellcheck disable=SC2317  # called by section
# The selftests say their own counts in their last line, which here is not the last.
selftests() {
	local log=$root/build/results/selftest.log result=0
	"$root/scripts/selftest.sh" --matrix smoke | tee "$log" | sed -uE '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/d' || result=1
	tail -n 1 "$log" | sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' >"$root/build/results/selftest.counts"
	[ -s "$root/build/results/selftest.counts" ] || rm "$root/build/results/selftest.counts"
	return "$result"
}

# Of these two standard output has the counts alone.
section test "$root/scripts/test.sh" >/dev/null
section lint "$root/scripts/lint.sh" >/dev/null
section selftest selftests

say check "all in $(since "$began")"
awk '{ p += $1; f += $2; s += $3 } END { print p " passed, " f " failed, " s " skipped" }' "$root"/build/results/*.counts
awk '{ f += $2 } END { exit f > 0 }' "$root"/build/results/*.counts || status=1
exit $status
