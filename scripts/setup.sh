#!/bin/sh
# Installs what Holdfast needs on Debian 12: Node 24 and libraries from npm, tools from Debian.
#
#     setup.sh [test | bench]      what running, testing or measuring needs
#
# Run by `npm start`, `npm test` and `npm run bench`; does nothing where all is there. Says what it does.
# Needs sh and the npm that runs it, nothing newer: no line here may use a Node but the one it installs.
set -eu
cd "$(dirname "$0")/.."

stop() {
  echo "setup: $*" >&2
  exit 1
}

# --- npm: exactly package-lock.json, which brings Node 24 ------------------------------------------------
stamp=node_modules/.holdfast-lock
node=node_modules/.bin/node
if [ ! -x "$node" ] || ! cmp -s package-lock.json "$stamp"; then
  echo "setup: installing the npm packages of package-lock.json"
  [ "$(uname -m)" = x86_64 ] || stop "the bundled Node is for x86_64 only, this is $(uname -m)"
  # `npm run` has put node_modules/.bin first in PATH: npm must not run on a Node that it is about to delete.
  outside=$(printf '%s\n' "$PATH" | tr ':' '\n' | grep -v '/node_modules/\.bin$' | paste -sd: -)
  PATH=$outside command -v npm >/dev/null || stop "npm is missing: apt-get install npm"
  PATH=$outside npm ci --no-audit --no-fund --loglevel=error || stop "npm ci failed, see above"
  [ -x "$node" ] || stop "npm ci ran, but $node is missing"
  cp package-lock.json "$stamp"
fi
major=$("$node" -p 'process.versions.node.split(".")[0]') || stop "$node does not run"
[ "$major" -ge 24 ] || stop "$node is Node $major, Holdfast needs 24"

# --- Debian: command:package or /file:package; a package is installed where its command or file is missing
wanted="qemu-img:qemu-utils qemu-nbd:qemu-utils mke2fs:e2fsprogs debugfs:e2fsprogs e2fsck:e2fsprogs"
case "${1:-}" in
  '') ;;
  test)
    wanted="$wanted qemu-io:qemu-utils nbdcopy:libnbd-bin nbdinfo:libnbd-bin nbdkit:nbdkit python3:python3"
    wanted="$wanted script:bsdutils setpriv:util-linux zsh:zsh fish:fish"
    # Real guests (test/e2e).
    wanted="$wanted qemu-storage-daemon:qemu-system-common"
    wanted="$wanted qemu-system-x86_64:qemu-system-x86 cpio:cpio modinfo:kmod sfdisk:fdisk openssl:openssl"
    wanted="$wanted lz4:lz4 xz:xz-utils flock:util-linux unshare:util-linux"
    wanted="$wanted swtpm:swtpm swtpm_setup:swtpm-tools /usr/share/OVMF/OVMF_CODE_4M.fd:ovmf"
    wanted="$wanted mmdebstrap:mmdebstrap grub-mkimage:grub-common /usr/lib/grub/i386-pc/boot.img:grub-pc-bin"
    wanted="$wanted az:azure-cli"
    wanted="$wanted virsh:libvirt-clients libvirtd:libvirt-daemon-system virt-qemu-run:libvirt-daemon-driver-qemu"
    ;;
  bench)
    wanted="$wanted nbdcopy:libnbd-bin restic:restic borg:borgbackup python3:python3"
    # Guests and what they are backed up by beside us.
    wanted="$wanted virtnbdbackup:virtnbdbackup qemu-system-x86_64:qemu-system-x86 perl:perl-base"
    wanted="$wanted libvirtd:libvirt-daemon-system virsh:libvirt-clients"
    wanted="$wanted cpio:cpio modinfo:kmod sfdisk:fdisk openssl:openssl lz4:lz4 xz:xz-utils flock:util-linux"
    ;;
  *) stop "unknown: $1 (test or bench)" ;;
esac

has() {
  case "$1" in /*) [ -e "$1" ] && return ;; esac
  PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1
}

missing=
for pair in $wanted; do
  has "${pair%%:*}" || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

missing=$(printf '%s\n' $missing | sort -u | paste -sd' ' -)
has apt-get || stop "install these packages, then run again: $missing"
sudo=
if [ "$(id -u)" != 0 ]; then
  has sudo || stop "as root, then run again: apt-get install $missing"
  sudo=sudo
fi

# Another apt may hold its locks (update does not wait by itself), or the network may hiccup.
apt() {
  tries=0
  until $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq "$@" >/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 6 ] || stop "apt-get $1 failed six times, see above"
    echo "setup: apt-get $1 failed, trying again in 10 s" >&2
    sleep 10
  done
}

echo "setup: installing Debian packages: $missing"
apt update
# shellcheck disable=SC2086
apt install -y --no-install-recommends $missing
for pair in $wanted; do
  has "${pair%%:*}" || stop "${pair%%:*} is still missing after installing ${pair#*:}"
done
