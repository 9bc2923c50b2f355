#!/bin/sh
# Types, lint, format and dead exports.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/node_modules/.bin:$PATH
tsc
oxlint --type-aware --deny-warnings src test bench
oxfmt --check src test bench docs
knip
