#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Puts the module into a kernel tree as drivers/virt/mvirt, and takes it out again.
#
#	scripts/intree.sh add|remove|status TREE
#
# Besides the directory it adds one line to drivers/virt/Kconfig and one to drivers/virt/Makefile.
# Done twice it does nothing the second time; remove leaves both files as they were, byte for byte.
# The files are replaced, never written to: a tree of hard links keeps its origin.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# = 2 ] || die "usage: $0 add|remove|status TREE"
action=$1 tree=$2
kconfig=$tree/drivers/virt/Kconfig makefile=$tree/drivers/virt/Makefile place=$tree/drivers/virt/mvirt
# shellcheck disable=SC2016  # Kbuild expands it, not the shell
kconfig_line='source "drivers/virt/mvirt/Kconfig"' makefile_line='obj-$(CONFIG_MVIRT)		+= mvirt/'

for file in "$kconfig" "$makefile"; do
	[ -f "$file" ] || die "$tree is no kernel tree that mvirt fits into: it has no ${file#"$tree"/}"
done

has() { grep -qxF -- "$2" "$1"; }

replace() { # FILE: by what comes on standard input, if that differs
	local new
	new=$(mktemp "$1.XXXXXX")
	cat >"$new"
	if cmp -s "$new" "$1"; then
		rm "$new"
		return
	fi
	chmod --reference="$1" "$new"
	mv "$new" "$1"
}

# insert FILE LINE PATTERN first|last: LINE goes before the first or last line that matches
# PATTERN, which is always a whole line: how the file ends does not change.
insert() {
	local file=$1 line=$2 pattern=$3 which=$4 at
	has "$file" "$line" && return
	at=$(grep -nE -- "$pattern" "$file" | cut -d: -f1 | if [ "$which" = first ]; then head -n 1; else tail -n 1; fi)
	[ -n "$at" ] || die "${file#"$tree"/} has no line like /$pattern/ to put mvirt's before"
	{ head -n $((at - 1)) "$file" && echo "$line" && tail -n +"$at" "$file"; } | replace "$file"
}

withdraw() { # FILE LINE
	has "$1" "$2" || return 0
	# perl keeps a last line that has no end so; awk and grep would end it.
	LINE=$2 perl -ne 'print unless $_ eq "$ENV{LINE}\n"' "$1" | replace "$1"
}

status() {
	local parts=0
	! has "$kconfig" "$kconfig_line" || parts=$((parts + 1))
	! has "$makefile" "$makefile_line" || parts=$((parts + 1))
	[ ! -f "$place/Kconfig" ] || parts=$((parts + 1))
	case $parts in
	0) echo absent ;;
	3) echo present ;;
	*) echo partial ;;
	esac
}

case $action in
add)
	if [ -e "$place" ] && [ ! -f "$place/.sources" ]; then
		die "$place is there and was not put there by this script"
	fi
	# Both lines first: they are what can be refused.
	insert "$kconfig" "$kconfig_line" '^endif' last
	insert "$makefile" "$makefile_line" '^obj-' first
	copy_module "$place"
	;;
remove)
	if [ -e "$place" ] && [ ! -f "$place/.sources" ]; then
		die "$place was not put there by this script"
	fi
	withdraw "$kconfig" "$kconfig_line"
	withdraw "$makefile" "$makefile_line"
	rm -rf "$place"
	;;
status) status ;;
*) die "no action \"$action\": there are add, remove, status" ;;
esac
