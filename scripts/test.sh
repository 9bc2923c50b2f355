#!/bin/sh
# Set-up, checks, then every test.
#
#     test.sh          everything
#     test.sh unit     the tests beside the source only
#     test.sh long     everything, with long histories (HOLDFAST_TEST_LONG)
set -eu
cd "$(dirname "$0")/.."
what=${1:-all}
case "$what" in
  all | unit | long) ;;
  *) echo "test: unknown: $what (unit or long)" >&2 && exit 1 ;;
esac
sh scripts/setup.sh test
sh scripts/check.sh
PATH=$PWD/node_modules/.bin:$PATH:/usr/sbin:/sbin
export PATH
set -- --disable-warning=ExperimentalWarning
case "$what" in
  unit) exec node "$@" --test --test-isolation=none 'src/**/*.test.ts' ;;
  long) HOLDFAST_TEST_LONG=1 exec node "$@" test/run-tests.ts 'src/**/*.test.ts' 'test/**/*.test.ts' ;;
  all) exec node "$@" test/run-tests.ts 'src/**/*.test.ts' 'test/**/*.test.ts' ;;
esac
