# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154  # variables are for, or of, those who source this
#
# A Debian archive that can be read without touching the system's own apt state. Sourced after lib.sh by
# the scripts that fetch.

debian_release() { # bookworm, trixie; empty elsewhere
	local id='' codename=''
	[ -r /etc/os-release ] || return 0
	# shellcheck source=/dev/null
	id=$(. /etc/os-release && echo "${ID:-}")
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	[ "$id" = debian ] && echo "$codename"
	return 0
}

# debian_mirror SUITE: where this system's own sources get that suite, or else its release; the
# name of a mirror is written nowhere in this tree. apt knows of them once it has read their lists.
debian_mirror() {
	local try found
	for try in now updated; do
		[ "$try" = now ] || logged "$cache/log/apt-update.log" as_root apt-get update
		found=$(apt-get indextargets --format "\$(RELEASE) \$(CREATED_BY) \$(REPO_URI)" |
			awk -v suite="$1" -v release="$(debian_release)" '
				$2 != "Packages" { next }
				$1 == suite && !same { same = $3 }
				$1 == release && !own { own = $3 }
				END { print same ? same : own }')
		[ -z "$found" ] || break
	done
	echo "$found"
}

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# apt_private ARCH SUITE, in a subshell: prints an apt configuration whose state, lists and sources are in the
# cache, for one architecture and suite. Proxies and certificates of the system's own
# configuration still hold: only the sources, the preferences and the state are replaced.
apt_private() {
	local arch=$1 suite=$2 dir="$cache/apt/$1-$2" mirror
	mirror=$(debian_mirror "$suite")
	[ -n "$mirror" ] || die "no Debian archive for $(debian_release) in this system's apt sources"
	[ -r "$debian_keyring" ] || die "$debian_keyring is missing: apt-get install debian-archive-keyring"
	mkdir -p "$dir/lists/partial" "$dir/archives/partial"
	# apt itself does not wait for another apt in the same place, it fails.
	locked "apt-$arch-$suite"
	: >"$dir/status"
	printf '%s [signed-by=%s] %s %s main\n' deb "$debian_keyring" "$mirror" "$suite" \
		deb-src "$debian_keyring" "$mirror" "$suite" >"$dir/sources.list"
	cat >"$dir/apt.conf" <<-CONF
		APT::Architecture "$arch";
		APT::Architectures { "$arch"; };
		APT::Sandbox::User "";
		Acquire::Languages "none";
		Dir::State "$dir";
		Dir::State::status "$dir/status";
		Dir::Cache "$dir";
		Dir::Etc::SourceList "$dir/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
	CONF
	APT_CONFIG=$dir/apt.conf apt-get -qq update >&2 ||
		die "could not read $suite ($arch) from the system's Debian archive"
	echo "$dir/apt.conf"
}
