import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '#base';
import { failureOf as failureOfCommand } from './failures.ts';
import { Interruption } from './surroundings.ts';
import { UsageError } from './usage-error.ts';

const failureOf = (error: unknown, interruption?: Interruption) =>
  failureOfCommand(error, { command: 'holdfast repo backup', interruption });

test('wrong usage and a missing password exit with 2, everything else with 1', () => {
  assert.equal(failureOf(new UsageError('no')).exitCode, 2);
  assert.equal(failureOf(new HoldfastError('PasswordMissing', 'no')).exitCode, 2);
  assert.equal(failureOf(new HoldfastError('PasswordWrong', 'no')).exitCode, 1);
  assert.equal(failureOf(new HoldfastError('StoreUnsupported', 'no')).exitCode, 1);
  assert.equal(failureOf(new TypeError('no')).exitCode, 1);
});

test('a cancelled command exits as one that its signal has ended', () => {
  const cancelled = new HoldfastError('Cancelled', 'cancelled');
  assert.equal(failureOf(cancelled).exitCode, 130);
  assert.equal(failureOf(cancelled, new Interruption('SIGTERM')).exitCode, 143);
  assert.equal(failureOf(cancelled, new Interruption('SIGHUP')).exitCode, 129);
  assert.equal(failureOf(new TypeError('no'), new Interruption('SIGTERM')).exitCode, 1);
});

test('a failure is one line, whatever its message holds', () => {
  const { line } = failureOf(
    new HoldfastError('DiskUnavailable', 'qemu says:\n  one\n  two\u001b[2J'),
  );
  assert.equal(line, 'qemu says: one two\\x1b[2J [DiskUnavailable]');
});

test('a failure says what to do where its message cannot know it', () => {
  const { line } = failureOf(new HoldfastError('OutputExists', '"a.raw" exists already'));
  assert.equal(
    line,
    '"a.raw" exists already; choose another output (restore writes over images with --overwrite) [OutputExists]',
  );
});

test('where there is no room one thing is advised: what makes room there', () => {
  const lineOf = (details: Readonly<Record<string, string>>): string =>
    failureOf(new HoldfastError('StoreFull', 'full', { details })).line;
  assert.match(lineOf({}), /^full; make room \(expire and compact/);
  assert.match(lineOf({ purpose: 'scratch' }), /--scratch/);
  assert.equal(lineOf({ purpose: 'images' }), 'full [StoreFull]');
});

test('a failure has its code, wrong usage too, and that names the help of its command', () => {
  const { code, message, line } = failureOf(new UsageError('no disk'));
  const says = 'no disk; holdfast repo backup --help explains it';
  assert.deepEqual([code, message, line], ['Usage', says, `${says} [Usage]`]);
  assert.equal(failureOf(new HoldfastError('PasswordMissing', 'no')).code, 'PasswordMissing');
});

test('a bug is one line too, and says how to report it', () => {
  const { line } = failureOf(new Error('x is undefined'));
  assert.match(line, /^x is undefined \(unexpected: please report it.*\) \[Unexpected\]$/);
});
