#!/bin/sh
# The comparison with restic, borg, qemu-img and virtnbdbackup, as Markdown tables; arguments go to bench/repository.ts.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh bench
PATH=$PWD/node_modules/.bin:/usr/sbin:/sbin:$PATH
export PATH
exec node --disable-warning=ExperimentalWarning bench/repository.ts "$@"
