#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# "make help" lists what there is: each command is a target, and one that is not there yet says so and
# fails.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

cd "$root"
mapfile -t lines < <(make help | sed -nE 's/^  ([a-z-]+) +(.*)/\1 \2/p' | grep -v '=')
[ "${#lines[@]}" -ge 10 ] || die "make help lists ${#lines[@]} commands"
absent=0
for line in "${lines[@]}"; do
	read -r name about <<<"$line"
	make -n "$name" >/dev/null || die "make help lists $name, which is no target"
	[[ $about == "not there yet"* ]] || continue
	absent=$((absent + 1))
	status=0
	said=$(make "$name" 2>&1) || status=$?
	[ "$status" != 0 ] || die "make $name is not there yet and ends well"
	grep -q "^$name: " <<<"$said" || die "make $name does not say what is missing: $said"
done
# The other way round: what only says that it is not there is listed so.
while read -r name; do
	printf '%s\n' "${lines[@]}" | grep -q "^$name not there yet" || die "make help does not say that $name is not there yet"
	absent=$((absent - 1))
done < <(sed -nE "s/^\t@echo '([a-z-]+): .*' >\&2$/\1/p" Makefile)
[ "$absent" = 0 ] || die "commands that are not there yet: make help and the Makefile do not agree"
