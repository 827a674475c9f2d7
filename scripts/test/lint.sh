#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A lint fails if any of its commands does, not the last one alone.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/scripts"
cp "$root/scripts/lib.sh" "$work/scripts/"

# lints COMMAND...: lint.sh with one lint, "fmt", that consists of these commands
lints() {
	awk -v body="$(printf '\t%s\n' "$@")" '
		/^lint_fmt\(\) \{$/ { print "lint_fmt() {\n" body; skip = 1 }
		skip && /^}$/ { skip = 0 }
		!skip' "$root/scripts/lint.sh" >"$work/scripts/lint.sh"
	(cd "$work" && git init -q . && bash scripts/lint.sh fmt) >/dev/null 2>&1
}

lints true true || die "a lint whose commands succeed fails"
if lints false true; then die "a lint whose first command fails passes"; fi
if lints true false; then die "a lint whose last command fails passes"; fi
