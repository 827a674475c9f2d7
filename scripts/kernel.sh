#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds a host kernel once and prints the directory of the build, and nothing else, on standard
# output. Progress goes to standard error.
#
#	scripts/kernel.sh [--version 6.18.15] [--variant 4k] [--tarball FILE] [--key | --source]
#
# The build lies in the cache, out of tree, under a key of all that goes into it: the pinned
# sources, the patches, the configuration fragments and the versions of the tools. KDIR=, a tree
# that a vendor has built, is checked and used instead.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/debian.sh
. "$(dirname "$0")/debian.sh"

config=$root/scripts/config
version=${KERNEL:-6.18.15}
variant=${VARIANT:-4k}
tarball=''
print=build

usage() {
	sed -n '/^# Builds/,/^# that a vendor/s/^# \{0,1\}//p' "$0" >&2
	note "versions: $(known_versions), variants: $variants"
	exit "${1:-2}"
}

variants='4k 16k no-kvm hardened debug'
fragments() { # the fragments of a variant, in the order in which they are merged
	case $1 in
	4k) echo host kvm 4k ;;
	16k) echo host kvm 16k ;;
	no-kvm) echo host 4k ;;
	hardened) echo host kvm 4k hardened ;;
	debug) echo host kvm 4k debug ;;
	*) die "no kernel variant \"$1\": there are $variants" ;;
	esac
}

sources() { awk -v v="$version" '!/^#/ && $1 == v { print $2, $3, $4 }' "$config/kernels"; }
known_versions() { awk '!/^#/ && NF { print $1 }' "$config/kernels" | sort -u | paste -sd' '; }

patches() { # none, or those of this version in their order
	[ ! -d "$root/scripts/patches/$version" ] || find "$root/scripts/patches/$version" -name '*.patch' | sort
}

checked() { # FILE SHA256: is it the file that was pinned?
	[ -f "$1" ] && [ "$(sha256 "$1")" = "$2" ]
}

# fetch KIND SHA256 WHERE: leaves the tarball in $download/linux-$version.tar.xz. Fails with a
# note, so that the next source is tried.
fetch() {
	local kind=$1 sha=$2 where=$3 suite=${3%%/*} package=${3#*/} scratch=$download/partial-$version conf got
	rm -rf "$scratch"
	mkdir -p "$scratch"
	case $kind in
	url)
		say fetch "$where"
		# A machine behind a proxy of packages alone often reaches no other host: give up early.
		curl --fail --silent --show-error --location --connect-timeout 10 --retry 1 \
			--speed-limit 10000 --speed-time 30 --output "$scratch/linux.tar.xz" "$where" >&2 || return 1
		;;
	debian-source)
		[ -n "$(debian_release)" ] || { note "$package: this is not Debian" && return 1; }
		say fetch "Debian source package $package ($suite)"
		conf=$(apt_private amd64 "$suite") || return 1
		(cd "$scratch" && APT_CONFIG=$conf apt-get -qq source --download-only --tar-only "$package" >&2) || return 1
		;;
	debian-package)
		[ -n "$(debian_release)" ] || { note "$package: this is not Debian" && return 1; }
		say fetch "Debian package $package ($suite)"
		conf=$(apt_private amd64 "$suite") || return 1
		(cd "$scratch" && APT_CONFIG=$conf apt-get -qq download "$package" >&2) || return 1
		;;
	*) die "scripts/config/kernels: unknown kind of source \"$kind\"" ;;
	esac
	got=$(find "$scratch" -maxdepth 1 -type f)
	checked "$got" "$sha" || {
		note "$(basename "$got") hashes to $(sha256 "$got"), not to the pinned $sha: not used"
		return 1
	}
	if [ "$kind" = debian-package ]; then
		dpkg-deb --fsys-tarfile "$got" | tar -x -C "$scratch" --wildcards './usr/src/linux-source-*.tar.xz'
		got=$(find "$scratch/usr/src" -name 'linux-source-*.tar.xz')
	fi
	mv "$got" "$download/linux-$version.tar.xz"
	echo "$kind $sha $where" >"$download/linux-$version.pin"
	# The tarball from inside a checked package has no pinned sum of its own: note that of today's.
	sha256 "$download/linux-$version.tar.xz" >"$download/linux-$version.sha256"
	rm -rf "$scratch"
}

obtain() { # leaves a checked tarball at $download/linux-$version.tar.xz
	local file=$download/linux-$version.tar.xz kind sha where
	mkdir -p "$download"
	if [ -n "$tarball" ]; then
		while read -r kind sha where; do
			checked "$tarball" "$sha" || continue
			[ "$kind" != debian-package ] || die "--tarball wants the tarball, not the package around it"
			cp "$tarball" "$file"
			echo "$sha" >"$download/linux-$version.sha256"
			echo "$kind $sha $where" >"$download/linux-$version.pin"
			return
		done < <(sources)
		die "$tarball ($(sha256 "$tarball")) is none of the pinned sources of $version in scripts/config/kernels"
	fi
	# What the cache noted at download; beside it the pin that it was downloaded by, since a Debian
	# package's pin is not the sum of the tarball in it. A pin that is no more is no proof.
	if [ -f "$download/linux-$version.sha256" ] && [ -f "$download/linux-$version.pin" ] &&
		sources | grep -qF "$(<"$download/linux-$version.pin")" &&
		checked "$file" "$(<"$download/linux-$version.sha256")"; then
		return
	fi
	while read -r kind sha where; do
		fetch "$kind" "$sha" "$where" && return
	done < <(sources)
	die "no source of Linux $version could be fetched; give its tarball: scripts/kernel.sh --tarball FILE"
}

# unpacked: leaves $source there, patched, whole or not at all. The lock is that of all who want this
# version's source, for whatever variant, and no longer held than it takes: in a subshell.
unpacked() (
	locked "source-$version"
	[ -d "$source" ] || unpack
)

unpack() {
	local patch scratch=$source.partial started=$SECONDS
	obtain
	say unpack "Linux $version"
	rm -rf "$scratch"
	mkdir -p "$scratch"
	tar -x -C "$scratch" --strip-components=1 -f "$download/linux-$version.tar.xz"
	while read -r patch; do
		[ -n "$patch" ] || continue
		note "patch $(basename "$patch")"
		patch -d "$scratch" -p1 --quiet --forward <"$patch" >&2 || die "$patch does not apply to $version"
	done < <(patches)
	mv "$scratch" "$source"
	note "unpacked in $(since "$started")"
}

# Every option that a fragment asks for must have survived Kconfig's dependencies: a test that
# runs without what it tests would pass.
check_config() {
	local missing='' line option
	while read -r line; do
		option=${line%%=*}
		grep -qxF -- "$line" "$build/.config" && continue
		awk -v v="$version" -v o="$option" '$1 == v && $2 == o { found = 1 } END { exit !found }' \
			"$config/exceptions" && continue
		missing+=" $line"
	done < <(grep -h '^CONFIG_' "${files[@]}")
	[ -z "$missing" ] || die "Linux $version ($variant) did not take:$missing (see its dependencies; scripts/config/exceptions)"
}

compile() {
	local started=$SECONDS
	unpacked
	mkdir -p "$build"
	say configure "Linux $version ($variant)"
	cat "${files[@]}" >"$build/fragments"
	logged "$build/config.log" make -C "$source" O="$build" "${kbuild_args[@]}" \
		KCONFIG_ALLCONFIG="$build/fragments" allnoconfig
	check_config
	say build "Linux $version ($variant), about 10 minutes on 2 cores; log: $build/build.log"
	logged "$build/build.log" nice make -C "$source" O="$build" "${kbuild_args[@]}" Image modules
	note "built in $(since "$started")"
	date -u +%FT%TZ >"$build/.mvirt-built"
}

vendor_tree() { # a tree that somebody else has built
	local file
	[ -d "$KDIR" ] || die "KDIR=$KDIR is not a directory"
	for file in .config Makefile include/config/kernel.release include/generated/autoconf.h Module.symvers; do
		[ -e "$KDIR/$file" ] || die "KDIR=$KDIR has no $file: it must be a kernel tree (or its O=) after \"make Image modules\""
	done
	grep -qx CONFIG_RUST=y "$KDIR/.config" || die "KDIR=$KDIR was built without CONFIG_RUST=y, which mvirt needs"
	! grep -qx CONFIG_ARM64_64K_PAGES=y "$KDIR/.config" ||
		die "KDIR=$KDIR has 64 KiB pages; 4 and 16 KiB are served: CONFIG_ARM64_4K_PAGES or CONFIG_ARM64_16K_PAGES"
	realpath "$KDIR"
}

while [ $# -gt 0 ]; do
	case $1 in
	--version) version=$2 && shift ;;
	--variant) variant=$2 && shift ;;
	--tarball) tarball=$2 && shift ;;
	--key) print=key ;;
	--source) print=source ;;
	-h | --help) usage 0 ;;
	*) usage ;;
	esac
	shift
done

if [ -n "${KDIR:-}" ]; then
	vendor_tree
	exit
fi
[ -n "$(sources)" ] || die "Linux $version is not in scripts/config/kernels, which has $(known_versions); use KDIR= for a tree of your own"

rust_env
files=()
names=$(fragments "$variant")
for name in $names; do files+=("$config/$name.config"); done

tools() {
	"clang-$llvm" --version | head -n 1
	"ld.lld-$llvm" --version
	"$RUSTC" --version --verbose
	bindgen --version
}
source_key=$( (sources && patches | xargs -r cat) | sha256sum | cut -c1-10)
key=$( (echo "$source_key" && cat "${files[@]}" && tools) | sha256sum | cut -c1-10)
download=$cache/download
source=$cache/src/linux-$version-$source_key
build=$cache/kernel/$version-$variant-$key

case $print in
key) echo "$key" ;;
source)
	unpacked
	echo "$source"
	;;
build)
	if [ ! -f "$build/.mvirt-built" ]; then
		locked "kernel-$version-$variant"
		[ -f "$build/.mvirt-built" ] || compile
	fi
	echo "$build"
	;;
esac
