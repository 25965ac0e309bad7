#!/bin/sh
# Builds root.img, vmlinuz, initrd.img and versions into the folder $1, of the Debian release $2 with its kernel and ZFS.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
LAB_OUTPUT=$1
debian=$2
export LAB_OUTPUT
mode=root
[ "$(id -u)" = 0 ] || mode=unshare
mmdebstrap --mode="$mode" --variant=minbase --components="main contrib" \
    --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/man/*' \
    --include="$(grep -v '^#' "$here/packages" | paste -sd,)" \
    --customize-hook="$here/customize.sh \"\$1\"" \
    "$debian" "$LAB_OUTPUT/rootfs.tar"
mkdir "$LAB_OUTPUT/rootfs"
tar -x -C "$LAB_OUTPUT/rootfs" -f "$LAB_OUTPUT/rootfs.tar"
rm "$LAB_OUTPUT/rootfs.tar"
truncate -s 6G "$LAB_OUTPUT/root.img"
mkfs.ext4 -q -F -L root -E root_owner=0:0 -d "$LAB_OUTPUT/rootfs" "$LAB_OUTPUT/root.img"
rm -rf "$LAB_OUTPUT/rootfs"
