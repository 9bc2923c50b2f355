#!/bin/sh
# Installs what Holdfast needs on Debian 12: Node 24 and libraries from npm, tools from Debian.
# Run by `npm start` and `npm test`; does nothing where all is there. Says what it does.
set -eu
cd "$(dirname "$0")/.."

stamp=node_modules/.holdfast-lock
if ! cmp -s package-lock.json "$stamp" 2>/dev/null; then
  echo "setup: installing the npm packages of package-lock.json"
  npm ci --no-audit --no-fund --loglevel=error
  cp package-lock.json "$stamp"
fi
major=$(node_modules/.bin/node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 24 ] || { echo "setup: node_modules/.bin/node is Node $major, needs 24" >&2; exit 1; }

# command:package pairs; a package is installed where its command is missing.
wanted="qemu-img:qemu-utils qemu-nbd:qemu-utils mke2fs:e2fsprogs"
if [ "${1:-}" = test ]; then
  wanted="$wanted nbdcopy:libnbd-bin nbdkit:nbdkit python3:python3"
fi
if [ "${1:-}" = bench ]; then
  wanted="$wanted nbdcopy:libnbd-bin restic:restic borg:borgbackup python3:python3"
fi
missing=
for pair in $wanted; do
  PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
  missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  echo "setup: installing Debian packages: $missing"
  $sudo apt-get -o DPkg::Lock::Timeout=300 update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $sudo apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null
  for pair in $wanted; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null 2>&1 || { echo "setup: ${pair%%:*} is still missing after installing ${pair#*:}" >&2; exit 1; }
  done
fi
