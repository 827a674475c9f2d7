#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Refuses an EL2 image that could not run: a segment that is writable and
# executable, a dynamic section, an undefined symbol, or in code a relocation
# that holds an absolute address (the code runs at its physical address too).
#
# usage: check-image.sh READELF IMAGE
set -eu

readelf=$1
image=$2
fail() {
	echo "check-image: $image: $1" >&2
	rm -f "$image"
	exit 1
}

headers=$("$readelf" -lW "$image")
if echo "$headers" | grep -E '^ +LOAD' | grep -q 'RWE'; then
	fail "a segment is writable and executable"
fi
if echo "$headers" | grep -qE '^ +(DYNAMIC|INTERP|TLS) '; then
	fail "it has a dynamic, interpreter or TLS segment"
fi
undefined=$("$readelf" -sW "$image" | awk '$7 == "UND" && $8 != "" { print $8 }')
if [ -n "$undefined" ]; then
	fail "undefined symbols: $undefined"
fi

# Relative to the place, or within a page: right wherever the image lies.
allowed='R_AARCH64_(ADR_PREL_(LO21|PG_HI21)|ADD_ABS_LO12_NC|LDST(8|16|32|64|128)_ABS_LO12_NC|CALL26|JUMP26|CONDBR19|TSTBR14|LD_PREL_LO19|PREL(16|32|64))'
foreign=$("$readelf" -rW "$image" | awk '
	/^Relocation section/ { text = index($0, ".rela.text") }
	text && /R_AARCH64_/ { print $3 " against " $5 }' | grep -vE "^$allowed " || true)
if [ -n "$foreign" ]; then
	fail "relocations in code that hold an absolute address: $(echo "$foreign" | sort | uniq -c | head -5)"
fi
