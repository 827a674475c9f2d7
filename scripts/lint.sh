#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The lints, each of which counts as one test. "scripts/lint.sh NAME..." runs those named.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

rust_env
cd "$root"
bare=aarch64-unknown-none-softfloat bare_flags=''
# Debian's Rust has no bare target; the same sources are linted for the arm64 target that is there.
if [ ! -d "$("$RUSTC" --print sysroot)/lib/rustlib/$bare" ]; then
	bare=aarch64-unknown-linux-gnu
	bare_flags=--sysroot=$debian_sysroot
fi

# The EL1 module and the builtins are Kbuild's and in no workspace.
lint_fmt() {
	cargo fmt --all --check
	rustfmt --edition 2021 --check module/el1/*.rs module/el2/builtins/lib.rs
}
lint_clippy() { cargo clippy --locked --all-targets -- -D warnings; }
# KVM's ioctls are compiled for arm64 alone. No linker is needed to lint.
lint_clippy_tool() {
	rust_arm64
	RUSTFLAGS="$rust_arm64_flags" cargo clippy --locked -p mvirt --target "$rust_arm64" --target-dir build/clippy-tool -- -D warnings
}
# As built, and with each option that Kbuild may set.
lint_clippy_el2() {
	for cfg in '' '--cfg mvirt_debug' '--cfg mvirt_crash_test' '--cfg page_16k'; do
		RUSTFLAGS="$bare_flags $cfg" cargo clippy --locked -p mvirt-el2 --target "$bare" --target-dir build/clippy-el2 -- -D warnings
	done
}
lint_doc() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items; }
lint_deny() { cargo deny --locked check --hide-inclusion-graph bans licenses sources; }

shell_files() {
	git ls-files -z | while IFS= read -r -d '' file; do
		if [ ! -L "$file" ] && [ -f "$file" ] && head -n 1 "$file" | grep -qE '^#!.*\b(bash|sh)$|shellcheck shell='; then
			printf '%s\0' "$file"
		fi
	done
	git ls-files -z '*.sh'
}
lint_shellcheck() { shell_files | sort -zu | xargs -0 shellcheck -x; }

python_files() { git ls-files -z '*.py'; }
lint_ruff() {
	python_files | xargs -0 -r ruff check --no-cache
	python_files | xargs -0 -r ruff format --no-cache --check
}

# Each tracked file says its licence in its first lines, or is one of those that cannot.
lint_spdx() {
	local bad=0 file
	while IFS= read -r file; do
		case $file in
		LICENSES/* | Cargo.lock | *.proptest-regressions | *.txt) continue ;;
		esac
		[ -f "$file" ] || continue
		# A patch says it at the end of its description.
		if ! awk '/SPDX-License-Identifier: / { found = 1 } NR == 20 || /^--- / { exit } END { exit !found }' "$file"; then
			echo "$file: no SPDX-License-Identifier"
			bad=1
		fi
	done < <(git ls-files)
	while IFS=: read -r file id; do
		case $file in
		module/abi/*) wanted='GPL-2.0 OR MIT' ;;
		module/*) wanted='GPL-2.0' ;;
		uapi/*.h | tool/src/uapi.rs) wanted='GPL-2.0 WITH Linux-syscall-note' ;;
		tool/*) wanted='Apache-2.0' ;;
		*) continue ;;
		esac
		[ "$id" = "$wanted" ] && continue
		echo "$file: is under \"$id\" where \"$wanted\" is meant"
		bad=1
	done < <(git grep -I --max-count=1 -oP 'SPDX-License-Identifier: \(?\K[^*)>]*[^*)> ]')
	return $bad
}

# The split that makes the logic of EL2 checkable: hyp forbids unsafe code, and nobody lifts it.
lint_safe() {
	grep -q '^#!\[forbid(unsafe_code)\]' module/el2/hyp/src/lib.rs ||
		{ echo "module/el2/hyp/src/lib.rs does not forbid unsafe code" && return 1; }
	# What EL2 links is ours alone: no crate from outside.
	! cargo tree --locked --offline -e normal -p mvirt-el2 --prefix none --format '{p}' | grep -v '^mvirt-\|^$' ||
		{ echo "the EL2 image has dependencies from outside" && return 1; }
}

known='fmt clippy clippy_tool clippy_el2 doc deny shellcheck ruff spdx safe'
mkdir -p build/lint
names=("$@")
[ $# -gt 0 ] || read -ra names <<<"$known"
for name in "${names[@]}"; do
	[[ " $known " == *" $name "* ]] || die "no lint \"$name\": there are $known"
	log=$root/build/lint/$name.log
	started=$SECONDS
	# In a shell of its own, and not as the condition of an if, where set -e would not hold: each
	# command of a lint counts, not the last one alone.
	set +e
	trap - ERR
	(
		set -e
		"lint_$name"
	) >"$log" 2>&1 </dev/null
	status=$?
	set -e
	if [ "$status" = 0 ]; then
		passes "$name ($(since "$started"))"
	else
		tail -n 25 "$log" | sed 's/^/            | /' >&2
		fails "$name; its log is $log"
	fi
done
tally lint || exit 1
