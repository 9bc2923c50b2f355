#!/bin/sh
# The compatibility matrix by real guests, all cells; writes docs/compatibility.md. As root, for libvirt.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh test
PATH=$PWD/node_modules/.bin:$PATH:/usr/sbin:/sbin
export PATH
HOLDFAST_MATRIX=1 node --disable-warning=ExperimentalWarning --test --test-reporter=spec test/e2e/matrix.test.ts
oxfmt docs/compatibility.md
