#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The table of Documentation/stray.rst is that of selftests/stray/ways.h, by which the selftest judges.
# MVIRT_BLESS=1 writes it anew. And no row lists what must never come of one, but for the known gap.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
page=${STRAY_PAGE:-$root/Documentation/stray.rst}
begin='.. begin generated: ways' end='.. end generated'

cat >"$work/table.c" <<'E2'
#include <stdio.h>
#include <string.h>
#include "ways.h"

#define GUEST_TEXT(name, text)	[name] = text,
static const char *const guests[] = { STRAY_GUESTS(GUEST_TEXT) };
#define HOST_TEXT(name, text)	[name] = text,
static const char *const hosts[] = { STRAY_HOSTS(HOST_TEXT) };

static int bad, nr;

static void row(const char *name, int control, int host, int guest, int got, const char *text)
{
	const char *separator = "";
	int never = OUT_SECRET | OUT_STRANGE | OUT_BROKEN | OUT_HANGS | OUT_SKIPPED;

	nr++;
	if (!(control & GAP) && (!got || got & never || guest == GUEST_HARMED || guest == GUEST_BROKEN ||
				 guest == GUEST_UNKNOWN)) {
		fprintf(stderr, "%s: lists what must not be\n", name);
		bad = 1;
	}
	if ((control & READS && control & HARMS) || !*text) {
		fprintf(stderr, "%s: is no row\n", name);
		bad = 1;
	}
	printf("   * - ``%s``\n     - %s%s\n     - %s\n     - %s\n     - ", name, text,
	       control & FILE_ ? " (memfd)" : "", hosts[host], guests[guest]);
#define GOT_TEXT(outcome, bit, words) \
	if (got & outcome) { printf("%s%s", separator, words); separator = ", or "; }
	STRAY_OUTCOMES(GOT_TEXT)
	printf("\n     - %s\n", control & READS ? "it reads the guest's bytes" :
	       control & HARMS ? "the guest's memory changes" : "\\-");
}

int main(void)
{
	puts(".. list-table::\n   :header-rows: 1\n   :widths: 14 32 14 16 12 12\n\n   * - Name\n     - What is done\n"
	     "     - Host\n     - Guest\n     - Process\n     - Without protection");
#define ROW(name, ...)	row(#name, __VA_ARGS__);
	STRAY_WAYS(ROW)
	return bad || nr < 50;
}
E2
"/usr/lib/llvm-$llvm/bin/clang" -Wall -Werror -I "${STRAY_WAYS:-$root/selftests/stray}" -o "$work/table" "$work/table.c"
"$work/table" >"$work/rows"

grep -qxF "$begin" "$page" || die "$page: no \"$begin\""
{
	sed "/^$begin\$/q" "$page"
	echo
	cat "$work/rows"
	echo
	sed -n "/^$end\$/,\$p" "$page"
} >"$work/page"
if [ -n "${MVIRT_BLESS:-}" ]; then
	cp "$work/page" "$page"
else
	diff -u "$page" "$work/page" || die "$page: the table is stale: MVIRT_BLESS=1 scripts/test/stray.sh writes it anew"
fi

# It sees a row that is not as it should be, and a table that is not the list's.
[ -z "${STRAY_WAYS:-}" ] || exit 0
mkdir "$work/ways"
refuses() { # WHAT SED-SCRIPT
	sed "$2" "$root/selftests/stray/ways.h" >"$work/ways/ways.h"
	! cmp -s "$root/selftests/stray/ways.h" "$work/ways/ways.h" || die "$1: nothing was changed"
	! MVIRT_BLESS='' STRAY_WAYS=$work/ways "$0" >"$work/said" 2>&1 || die "$1 is let through"
}
refuses 'a row that reads the secret' 's/X(load, \(.*\), OUT_SIGBUS/X(load, \1, OUT_SECRET/'
refuses 'a row that harms the guest' 's/X(store, \(.*\), GUEST_WELL/X(store, \1, GUEST_HARMED/'
refuses 'a table that lacks a row' '/X(peek,/d'
refuses 'another outcome' 's/X(peek, \(.*\), OUT_ZEROS/X(peek, \1, OUT_EFAULT/'
