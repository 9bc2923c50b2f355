/** Passwords asked for on a terminal: never shown, asked twice where they are new. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { PASSWORD, succeed, temporaryFolder, TerminalSession } from './holdfast.ts';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);

before(() => succeed(['repo', 'init', at('repo')]));

test('a repository is made with a password that is asked for twice and not shown', async () => {
  const session = new TerminalSession(['repo', 'init', at('new')]);
  await session.answer(/New password for/, 'tomatoX\u007f\r');
  await session.answer(/The same again/, 'tomato\r');
  assert.equal(await session.end(), 0, session.shown);
  assert.doesNotMatch(session.shown, /tomato/);
  await succeed(['repo', 'points', at('new')], { password: 'tomato' });
});

test('two passwords that differ make nothing', async () => {
  const session = new TerminalSession(['repo', 'init', at('typo')]);
  await session.answer(/New password for/, 'tomato\r');
  await session.answer(/The same again/, 'potato\r');
  assert.equal(await session.end(), 1);
  assert.match(session.shown, /holdfast: the two passwords differ/);
  assert.ok(!existsSync(at('typo')));
});

test('a command asks for the password where none was given', async () => {
  const session = new TerminalSession(['repo', 'points', at('repo')]);
  await session.answer(/Password of /, `${PASSWORD}\r`);
  assert.equal(await session.end(), 0, session.shown);
  assert.match(session.shown, /No recovery points yet/);
});

test('an empty answer is exit 2, Ctrl-C at the question exit 130', async () => {
  const empty = new TerminalSession(['repo', 'points', at('repo')]);
  await empty.answer(/Password of /, '\r');
  assert.equal(await empty.end(), 2);
  const cancelled = new TerminalSession(['repo', 'points', at('repo')]);
  await cancelled.answer(/Password of /, '\u0003');
  assert.equal(await cancelled.end(), 130);
});

test('nothing is asked where a repository needs no password, or with --no-encryption', async () => {
  await succeed(['repo', 'init', at('open'), '--no-encryption'], { password: null });
  const open = new TerminalSession(['repo', 'points', at('open')]);
  assert.equal(await open.end(), 0);
  assert.doesNotMatch(open.shown, /Password of/);
  const refused = new TerminalSession(['repo', 'points', at('repo'), '--no-encryption']);
  assert.equal(await refused.end(), 2);
  assert.match(refused.shown, /needs a password/);
});
