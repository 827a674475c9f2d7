#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes a Debian guest out of Debian's own packages for arm64, and prints the directory that it is in:
#
#	scripts/debian-guest.sh
#
#	vmlinuz     the kernel that linux-image-cloud-arm64 stands for, as it is in its package
#	config      how it was configured
#	modules/    what of its modules a guest's initramfs loads; modules/order names them in order
#	root.img    an ext4 image with Debian's essential packages, systemd, iproute2 and kmod
#	small.gz    a cpio archive with Debian's bash, coreutils and mount
#	packages    name and version of each package
#
# The release is this system's. apt resolves, fetches and checks the packages; they are unpacked here and
# configured in a machine of QEMU's that runs the same kernel. Nothing of it needs root, nor loop
# devices, nor a way to run arm64 programs on this machine. What was made stays in the cache until the
# scripts that make it change; a security update of Debian's comes in when the directory is removed.

# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/debian.sh
. "$(dirname "$0")/debian.sh"

release=$(debian_release)
[ -n "$release" ] || die "the Debian guest is made by apt from this system's Debian archive, and this is not Debian"
# What all of Debian expects, an init, and what sets up the network. usr-is-merged spares bookworm the
# perl that turns an old tree into a merged one.
packages=('?and(?architecture(arm64),?essential)' init systemd-sysv usr-is-merged iproute2 kmod)
small=(bash coreutils mount)
modules=(virtio_mmio virtio_blk virtio_net virtio_console)
# How long the packages may take to be configured, in seconds; on an idle machine it is a minute.
patience=1800

key=$({ echo "$release" && cat "$0" "$root/scripts/debian/configure"; } | sha256sum | cut -c1-10)
out=$cache/debian-guest/$release-$key
scratch=$cache/debian-guest/partial

# download DIRECTORY NAME...: with all that they depend on.
download() {
	local dir=$1 conf
	shift
	conf=$(apt_private arm64 "$release")
	mkdir -p "$dir/partial"
	APT_CONFIG=$conf logged "$cache/log/debian-guest-apt.log" apt-get -y --no-install-recommends \
		-o Dir::Cache::archives="$dir" --download-only install "$@"
}

# unpack DEB ROOT: without manuals and translations. /bin and its like are links into /usr already.
unpack() {
	dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink --exclude='./usr/share/man/*' \
		--exclude='./usr/share/locale/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/info/*'
}

# tree ROOT DIRECTORY: a tree of the packages in the directory.
tree() {
	local dir deb
	mkdir -p "$1"/{usr,proc,sys,dev,run,tmp,root}
	for dir in bin sbin lib; do
		mkdir -p "$1/usr/$dir"
		ln -s "usr/$dir" "$1/$dir"
	done
	for deb in "$2"/*.deb; do unpack "$deb" "$1"; done
}

# register DEB ROOT: tells the tree's dpkg that the package is unpacked and not configured, as dpkg
# would have if it could run the scripts of another architecture.
register() {
	local deb=$1 db=$2/var/lib/dpkg control name file md5
	control=$(mktemp -d -p "$scratch")
	dpkg-deb -e "$deb" "$control"
	name=$(dpkg-deb -f "$deb" Package)
	[ "$(dpkg-deb -f "$deb" Multi-Arch)" != same ] || name+=":$(dpkg-deb -f "$deb" Architecture)"
	{
		sed -e '/^$/d' -e '/^Package:/a Status: install ok unpacked' "$control/control"
		if [ -s "$control/conffiles" ]; then
			echo Conffiles:
			while read -r file; do
				[ -f "$2$file" ] || continue
				md5=$(md5sum "$2$file")
				echo " $file ${md5%% *}"
			done <"$control/conffiles"
		fi
		echo
	} >>"$db/status"
	for file in "$control"/*; do
		[ "$(basename "$file")" = control ] || cp -p "$file" "$db/info/$name.$(basename "$file")"
	done
	dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -e 's,^\./,/,' -e 's,/$,,' -e 's,^$,/.,' >"$db/info/$name.list"
	rm -rf "$control"
}

take_kernel() {
	local deb version line place
	download "$scratch/kernel-debs" linux-image-cloud-arm64
	deb=$(find "$scratch/kernel-debs" -name 'linux-image-[0-9]*-cloud-arm64_*.deb')
	[ -f "$deb" ] || die "linux-image-cloud-arm64 of $release brings no single kernel: ${deb:-none}"
	dpkg-deb -x "$deb" "$scratch/kernel"
	version=$(find "$scratch/kernel/boot" -name 'vmlinuz-*' -printf '%f\n' | sed s/^vmlinuz-//)
	say fetch "Debian's kernel $version ($(dpkg-deb -f "$deb" Version))"
	mv "$scratch/kernel/boot/vmlinuz-$version" "$scratch/made/vmlinuz"
	mv "$scratch/kernel/boot/config-$version" "$scratch/made/config"
	# Of a release with a merged /usr, or before that.
	place=$scratch/kernel
	[ -d "$place/lib/modules" ] || place=$scratch/kernel/usr
	depmod -b "$place" "$version"
	mkdir -p "$scratch/made/modules"
	while read -r line; do
		line=${line#insmod }
		case $line in
		builtin*) ;;
		*.ko) cp "$line" "$scratch/made/modules/" ;;
		*.ko.xz) xz -dc "$line" >"$scratch/made/modules/$(basename "$line" .xz)" ;;
		*) die "module $line is packed in a way that is not known here" ;;
		esac
		[[ $line = builtin* ]] || basename "$line" .xz
	done < <(modprobe -d "$place" -S "$version" --show-depends -a "${modules[@]}" | sed 's/ *$//' | awk '!seen[$0]++') \
		>"$scratch/made/modules/order"
	[ -s "$scratch/made/modules/order" ] || die "Debian's kernel $version has none of ${modules[*]}"
	note_packages "$scratch/kernel-debs"
}

note_packages() { # DIRECTORY
	local deb
	for deb in "$1"/*.deb; do dpkg-deb -W --showformat="\${Package} \${Version}\\n" "$deb"; done >>"$scratch/made/packages"
}

# Under fakeroot, so that the files are root's in the image and the archive.
pack() {
	local deb
	tree "$scratch/root" "$scratch/debs"
	mkdir -p "$scratch/root/var/lib/dpkg/info" "$scratch/root/var/lib/dpkg/updates"
	: >"$scratch/root/var/lib/dpkg/status"
	for deb in "$scratch"/debs/*.deb; do register "$deb" "$scratch/root"; done
	echo debian >"$scratch/root/etc/hostname"
	mke2fs -q -t ext4 -L debian -d "$scratch/root" "$scratch/made/root.img" 512M
	tree "$scratch/small" "$scratch/small-debs"
	(cd "$scratch/small" && find . | LC_ALL=C sort | cpio --quiet --create --format=newc) | gzip -n -1 >"$scratch/made/small.gz"
}

configure() {
	local log=$cache/log/debian-guest-configure.log status=0 files
	mapfile -t files < <(find "$scratch/made/modules" -type f -printf '%p:/modules/%f\n')
	"$root/scripts/rootfs.sh" --init "$root/scripts/debian/configure" --output "$scratch/configure.gz" \
		"${files[@]}"
	say configure "Debian's packages in a machine of QEMU's, about a minute; log: $log"
	timeout "$patience" qemu-system-aarch64 -M virt,gic-version=3 -cpu cortex-a76 -smp 2 -m 1024 -display none \
		-nic none -serial stdio -monitor none -no-reboot -global virtio-mmio.force-legacy=false \
		-drive "file=$scratch/made/root.img,if=none,id=root,format=raw,cache=unsafe" \
		-device virtio-blk-device,drive=root -kernel "$scratch/made/vmlinuz" -initrd "$scratch/configure.gz" \
		-append 'console=ttyAMA0 panic=-1 loglevel=4' </dev/null >"$log" 2>&1 || status=$?
	grep -q '^configured: all' "$log" && return
	tail -n 25 "$log" | sed 's/^/            | /' >&2
	die "Debian's packages could not be configured (QEMU ended with status $status); the whole log is $log"
}

make_guest() {
	rm -rf "$scratch"
	mkdir -p "$scratch/made"
	take_kernel
	download "$scratch/debs" "${packages[@]}"
	download "$scratch/small-debs" "${small[@]}"
	say unpack "$(find "$scratch/debs" -name '*.deb' | wc -l) packages of Debian $release for arm64"
	note_packages "$scratch/debs"
	logged "$cache/log/debian-guest-unpack.log" fakeroot "$0" --pack
	configure
	rm -rf "$out"
	mv "$scratch/made" "$out"
	rm -rf "$scratch"
}

# The part of make_guest that fakeroot runs, as a program: a function it cannot.
if [ "${1:-}" = --pack ]; then
	pack
	exit
fi
if [ ! -f "$out/packages" ]; then
	locked debian-guest
	[ -f "$out/packages" ] || make_guest
fi
echo "$out"
