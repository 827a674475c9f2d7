#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The linker script and check-image.sh let a sound EL2 image through and refuse what could not run:
# each refusal is provoked with a few lines of assembly.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../lib.sh"

el2=$root/module/el2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bin=/usr/lib/llvm-$llvm/bin

# build ASSEMBLY LINKER-OPTION...: as Kbuild links and checks
build() {
	local source=$1
	shift
	printf '%s\n' "$source" >"$work/image.S"
	"$bin/clang" --target=aarch64-linux-gnu -c -o "$work/image.o" "$work/image.S" || return
	"$bin/ld.lld" -m aarch64elf --defsym=PAGE_SIZE=4096 --no-undefined --fatal-warnings \
		--orphan-handling=error --emit-relocs --build-id=none -z noexecstack -o "$work/image.elf" \
		"$@" "$work/image.o" || return
	sh "$el2/check-image.sh" "$bin/llvm-readelf" "$work/image.elf"
}

header='.section .el2.header, "ax"; .global el2_header; el2_header: .word el2_text_end - el2_header'

accepts() { # WHAT ASSEMBLY
	build "$header; $2" -T "$el2/image.lds" 2>"$work/log" || die "$1 was refused: $(cat "$work/log")"
}

refuses() { # WHAT PATTERN ASSEMBLY [LINKER-SCRIPT]
	if build "$header; $3" -T "${4:-$el2/image.lds}" 2>"$work/log"; then
		die "$1 was let through"
	fi
	grep -qE "$2" "$work/log" || die "$1 was refused for another reason: $(cat "$work/log")"
}

accepts 'code that reaches data relative to the PC' \
	'.text; adrp x0, word; add x0, x0, :lo12:word; ret; .data; word: .quad el2_header'
refuses 'an undefined symbol' 'undefined symbol: nowhere' '.text; bl nowhere'
refuses 'an absolute address in code' 'R_AARCH64_ABS64 against' '.text; .quad word; .data; word: .quad 0'
refuses 'an absolute address in an instruction' 'R_AARCH64_MOVW_UABS' \
	'.text; movz x0, #:abs_g3:word; .data; word: .quad 0'
refuses 'a section that no rule places' 'orphan|being placed' '.section .surprise, "aw"; .quad 0'
refuses 'an identity page of more than a page' 'identity page' '.section .el2.idmap, "ax"; .skip 4096'
sed 's/FLAGS(6)/FLAGS(7)/' "$el2/image.lds" >"$work/wx.lds"
refuses 'a segment that is writable and executable' 'writable and executable' '.data; .quad 0' "$work/wx.lds"
