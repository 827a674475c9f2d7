#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check.sh adds the sections' counts up, and a section that fails, or dies before it counts, is seen.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/scripts"
cp "$root/scripts/check.sh" "$root/scripts/lib.sh" "$work/scripts/"

# section NAME COUNTS STATUS LAST-LINE: a stand-in for a section's script
section() {
	cat >"$work/scripts/$1.sh" <<-STAND_IN
		#!/bin/bash
		$([ -z "$2" ] || echo "echo $2 >'$work/build/results/$1.counts'")
		echo '$4'
		exit $3
	STAND_IN
	chmod +x "$work/scripts/$1.sh"
}

expect() { # STATUS LAST-LINE: of check.sh; the last line is the only one of its form
	local status=0 output
	output=$("$work/scripts/check.sh" 2>/dev/null) || status=$?
	[ "$status" = "$1" ] || die "check.sh ended with $status where $1 was expected: $output"
	[ "$(tail -n 1 <<<"$output")" = "$2" ] || die "check.sh ended with \"$(tail -n 1 <<<"$output")\" where \"$2\" was expected"
	[ "$(grep -cE '^[0-9]+ passed' <<<"$output")" = 1 ] || die "more than one closing line: $output"
}

section test '5 0 1' 0 '5 passed, 0 failed, 1 skipped'
section lint '3 0 0' 0 '3 passed, 0 failed, 0 skipped'
section selftest '' 0 '7 passed, 0 failed, 2 skipped'
expect 0 '15 passed, 0 failed, 3 skipped'

section lint '2 1 0' 1 ''
expect 1 '14 passed, 1 failed, 3 skipped'

# counted failures with a status of 0 are failures still
section lint '2 1 0' 0 ''
expect 1 '14 passed, 1 failed, 3 skipped'

section lint '3 0 0' 0 ''
section test '' 1 'died before it counted'
expect 1 '10 passed, 1 failed, 2 skipped'

section test '5 0 1' 0 ''
section selftest '' 1 '6 passed, 1 failed, 2 skipped'
expect 1 '14 passed, 1 failed, 3 skipped'

section selftest '' 1 'no counts here'
expect 1 '8 passed, 1 failed, 1 skipped'
