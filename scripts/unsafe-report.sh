#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Where the module's unsafe code is: lines of Rust and of assembly, and unsafe blocks, functions
# and impls by directory. Blank lines, comments and tests in their own directories do not count.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

files() { git ls-files "$1" | grep -E "$2" | grep -v '/tests/' || true; }

lines() { # of code, without blank lines and comments
	xargs -r cat | sed -E 's@^[[:space:]]*(//.*|/\*.*\*/)?[[:space:]]*$@@' | grep -c . || true
}

# Words in comments and strings are not unsafe code; the lint name in attributes is not either.
unsafes() {
	xargs -r cat | sed -E 's@//.*@@; s/"[^"]*"//g' | grep -oE '\bunsafe (\{|fn|impl|extern|trait)|\bunsafe\($' | wc -l || true
}

printf '%-18s %8s %8s %8s\n' directory rust assembly unsafe
rust_all=0 rust_arch=0
for dir in module/abi module/el2/hyp module/el2/arch module/el2/sim module/el2/builtins module/el1 tool; do
	[ -d "$dir" ] || continue
	rust=$(files "$dir" '\.rs$' | lines)
	assembly=$(files "$dir" '\.S$' | lines)
	printf '%-18s %8d %8d %8d\n' "$dir" "$rust" "$assembly" "$(files "$dir" '\.rs$' | unsafes)"
	case $dir in
	module/el2/arch) rust_arch=$((rust + assembly)) ;;
	esac
	case $dir in
	module/abi | module/el2/hyp | module/el2/arch | module/el2/builtins) rust_all=$((rust_all + rust + assembly)) ;;
	esac
done
echo "module/el2/arch is $((100 * rust_arch / (rust_all ? rust_all : 1))) % of the $rust_all lines that run at EL2."
