#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Turns `nm -n` of the EL2 image into a table that EL1 reads to name the
# addresses of a report: for each function its offset in the image, its name
# and a zero; a last offset of all ones ends it. Rust's legacy mangling keeps
# its path readable without a demangler: only the hash is cut off.
set -eu

awk '
BEGIN { print "/* Made by symbols.sh */" }
$3 == "el2_image_start" { next }
($2 == "t" || $2 == "T") && $3 !~ /^(\$|\.L)/ {
	name = $3
	sub(/17h[0-9a-f]+E$/, "", name)
	# The link base is a multiple of 2^47: the low eight digits are the offset.
	printf "\t.4byte 0x%s\n\t.asciz \"%s\"\n", substr($1, length($1) - 7), name
}
END { print "\t.4byte 0xffffffff" }'
