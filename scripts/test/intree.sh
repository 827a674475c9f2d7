#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# intree.sh on copies of the files that it edits, those of the cached kernels among them.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
intree=$root/scripts/intree.sh

expect() { # WHAT ACTUAL WANTED
	[ "$2" = "$3" ] || die "$1: \"$2\" where \"$3\" was expected"
}

# tree NAME KCONFIG MAKEFILE: a kernel tree as far as intree.sh looks, hard-linked to its origin.
tree() {
	mkdir -p "$work/$1.origin" "$work/$1/drivers/virt"
	cat "$2" >"$work/$1.origin/Kconfig"
	cat "$3" >"$work/$1.origin/Makefile"
	cp -al "$work/$1.origin/." "$work/$1/drivers/virt/"
	cp -a "$work/$1.origin" "$work/$1.copy"
}

unchanged() { # NAME: the edited files, and their origin, are what they were
	cmp "$work/$1.copy/Kconfig" "$work/$1/drivers/virt/Kconfig"
	cmp "$work/$1.copy/Makefile" "$work/$1/drivers/virt/Makefile"
	diff -r "$work/$1.copy" "$work/$1.origin"
}

changed_lines() { { diff "$1" "$2" || true; } | grep -c '^[<>]'; }

there_and_back() { # NAME
	local name=$1 dir=$work/$1/drivers/virt
	expect "$name before" "$("$intree" status "$work/$name")" absent
	"$intree" remove "$work/$name"
	unchanged "$name"
	"$intree" add "$work/$name"
	expect "$name added" "$("$intree" status "$work/$name")" present
	expect "$name: lines in Kconfig" "$(changed_lines "$work/$name.copy/Kconfig" "$dir/Kconfig")" 1
	expect "$name: lines in Makefile" "$(changed_lines "$work/$name.copy/Makefile" "$dir/Makefile")" 1
	[ -f "$dir/mvirt/Kbuild" ] || die "$name: no Kbuild"
	[ -f "$dir/mvirt/uapi/mvirt.h" ] || die "$name: no mvirt.h"
	(cd "$work/$name" && find . -type f -exec sha256sum {} + | sort) >"$work/once"
	"$intree" add "$work/$name"
	(cd "$work/$name" && find . -type f -exec sha256sum {} + | sort) >"$work/twice"
	cmp "$work/once" "$work/twice"
	echo stale >"$dir/mvirt/gone.rs"
	echo gone.rs | LC_ALL=C sort -o "$dir/mvirt/.sources" - "$dir/mvirt/.sources"
	"$intree" add "$work/$name"
	[ ! -e "$dir/mvirt/gone.rs" ] || die "$name: a file that the tree no longer has stayed"
	diff -r "$work/$name.copy" "$work/$name.origin"
	rm "$dir/mvirt/Kconfig"
	expect "$name without Kconfig" "$("$intree" status "$work/$name")" partial
	"$intree" remove "$work/$name"
	"$intree" remove "$work/$name"
	[ ! -e "$dir/mvirt" ] || die "$name: the directory stayed"
	unchanged "$name"
	expect "$name removed" "$("$intree" status "$work/$name")" absent
}

printf 'menuconfig VIRT_DRIVERS\n\tbool\nif VIRT_DRIVERS\nendif\n' >"$work/kconfig"
# shellcheck disable=SC2016
printf '# no newline at the end\nobj-$(CONFIG_A) += a/\nobj-y += b/' >"$work/makefile"
tree small "$work/kconfig" "$work/makefile"
there_and_back small

for source in "$cache"/src/linux-*/; do
	case $source in *.partial/) continue ;; esac
	[ -d "$source" ] || continue
	name=$(basename "$source")
	tree "$name" "$source/drivers/virt/Kconfig" "$source/drivers/virt/Makefile"
	there_and_back "$name"
done

# What it must refuse, with the tree as it was.
printf 'config A\n\tbool\n' >"$work/kconfig"
tree strange "$work/kconfig" "$work/makefile"
if "$intree" add "$work/strange" 2>/dev/null; then die "a Kconfig without endif was taken"; fi
unchanged strange
mkdir "$work/small/drivers/virt/mvirt"
if "$intree" add "$work/small" 2>/dev/null; then die "a foreign directory was overwritten"; fi
if "$intree" remove "$work/small" 2>/dev/null; then die "a foreign directory was removed"; fi
unchanged small
if "$intree" add "$work" 2>/dev/null; then die "a directory without drivers/virt was taken"; fi
