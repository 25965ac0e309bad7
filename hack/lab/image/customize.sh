#!/bin/sh
# Runs once the packages are in: makes the root file system ($1) a host that boots fast and is reached by ssh.
set -eu
root=$1
in_root() { chroot "$root" "$@"; }

# What differs between hosts (name, keys) comes at boot, from a tar file that lies raw on the disk "seed".
cat > "$root/etc/systemd/system/lab-seed.service" <<'EOF'
[Unit]
Description=Take name and keys from the seed disk
After=local-fs.target
Before=ssh.service
ConditionPathExists=/dev/vdb
[Service]
Type=oneshot
ExecStart=/usr/bin/tar -x -C / --no-same-owner -f /dev/vdb
ExecStart=/usr/bin/hostname -F /etc/hostname
[Install]
WantedBy=multi-user.target
EOF
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n' > "$root/etc/systemd/network/10-dhcp.network"
printf 'LABEL=root / ext4 defaults,noatime 0 1\n' > "$root/etc/fstab"
printf '6261636b737461796c6162686f737430\n' > "$root/etc/machine-id"
printf 'nameserver 10.0.2.3\n' > "$root/etc/resolv.conf"
printf 'zfs\n' > "$root/etc/modules-load.d/zfs.conf"
# 1 GiB for the cache of ZFS leaves the 3 GiB host room for many children.
printf 'options zfs zfs_arc_max=1073741824\n' > "$root/etc/modprobe.d/zfs.conf"

cat > "$root/etc/ssh/sshd_config.d/lab.conf" <<'EOF'
PermitRootLogin prohibit-password
PasswordAuthentication no
# Half of an emulated login, and nothing that a login with a key needs.
UsePAM no
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/lab_authorized_keys
PermitUserEnvironment yes
UseDNS no
MaxStartups 200:30:400
MaxSessions 200
HostKey /etc/ssh/ssh_host_ed25519_key
EOF

# Accounts with one flaw each, so that tests need not break root's.
printf 'de_DE.UTF-8 UTF-8\nen_US.UTF-8 UTF-8\n' > "$root/etc/locale.gen"
in_root locale-gen
in_root useradd -m -s /bin/bash plain
for user in noisy german; do in_root useradd -m -o -u 0 -g 0 -s /bin/bash "$user"; done
printf 'echo "Welcome to this host!"\necho "Please mind the rules." >&2\n' > "$root/home/noisy/.bashrc"
mkdir -p "$root/home/german/.ssh"
printf 'LANG=de_DE.UTF-8\nLC_ALL=de_DE.UTF-8\nLANGUAGE=de\n' > "$root/home/german/.ssh/environment"
restricted_account() {  # name, then the commands that it finds
    name=$1; shift
    mkdir -p "$root/opt/$name/bin"
    for command in "$@"; do ln -s "$(in_root sh -c "command -v $command")" "$root/opt/$name/bin/$command"; done
    printf '#!/bin/bash -p\nexport PATH=/opt/%s/bin\nexec /bin/bash --noprofile --norc "$@"\n' "$name" > "$root/opt/$name/shell"
    chmod 755 "$root/opt/$name/shell"
    in_root useradd -m -o -u 0 -g 0 -s "/opt/$name/shell" "$name"
}
restricted_account nopython sh bash cat id uname zfs zpool
restricted_account nozfs sh bash cat id uname python3
# Without PAM, ssh takes an account whose password is locked for a locked account.
for user in plain noisy german nopython nozfs; do in_root usermod -p '*' "$user"; done

for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    e2scrub_reap.service sanoid.timer sanoid-prune.service zfs-zed.service zfs-share.service \
    zfs-volume-wait.service systemd-networkd-wait-online.service systemd-timesyncd.service \
    getty@tty1.service serial-getty@ttyS0.service ldconfig.service systemd-firstboot.service; do
    in_root systemctl mask "$unit"
done
in_root systemctl enable systemd-networkd ssh lab-seed zfs-import-cache zfs-mount zfs.target zfs-import.target

# A small initial RAM disk: unpacking is what an emulated CPU is slow at.
sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=lz4/' "$root/etc/initramfs-tools/initramfs.conf"
printf 'virtio_pci\nvirtio_blk\next4\n' >> "$root/etc/initramfs-tools/modules"
in_root update-initramfs -u -k all
in_root sh -c 'modinfo -k "$(ls /lib/modules)" zfs' | grep '^version:'

# Boot files are handed to the emulator; compilers and documents are dead weight from here on.
cp "$root"/boot/vmlinuz-* "$LAB_OUTPUT/vmlinuz"
cp "$root"/boot/initrd.img-* "$LAB_OUTPUT/initrd.img"
in_root dpkg-query -W -f '${Package} ${Version}\n' zfsutils-linux linux-image-cloud-amd64 python3 > "$LAB_OUTPUT/versions"
rm -rf "$root"/usr/lib/gcc "$root"/usr/src/* "$root"/var/lib/dkms "$root"/usr/share/doc/* "$root"/usr/share/man/* \
    "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/boot/* "$root"/etc/ssh/ssh_host_*
