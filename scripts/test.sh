#!/bin/sh
# Set-up, checks, then every test. `unit`: the tests beside the source only. `long`: the long histories too.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh test
sh scripts/check.sh
PATH=$PWD/node_modules/.bin:/usr/sbin:/sbin:$PATH
export PATH
case "${1:-all}" in
  unit) exec node --disable-warning=ExperimentalWarning --test --test-isolation=none 'src/**/*.test.ts' ;;
  long) HOLDFAST_TEST_LONG=1 exec node --disable-warning=ExperimentalWarning --test --test-concurrency=2 'src/**/*.test.ts' 'test/**/*.test.ts' ;;
  all) exec node --disable-warning=ExperimentalWarning --test --test-concurrency=2 'src/**/*.test.ts' 'test/**/*.test.ts' ;;
esac
