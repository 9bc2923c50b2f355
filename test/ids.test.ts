/**
 * What is promised is tested under its name: the promises and rules shown so far, by id, compared with the names of
 * the tests that ran and passed in this very run. `test/run-tests.ts` runs this file after all others and
 * gives it their report; a test that is skipped, put off, filtered out, removed or fails proves nothing.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { PROMISES } from './promises.ts';
import { NOT_YET, OTHER_RULES, PARTS_NOT_YET, RULES } from './rules.ts';
import type { Ran } from './run-tests.ts';

const MISSION = 'test/mission/';
/** Where requests come in by HTTP: a rule is shown there, or not at all. */
const API = /^(?:test\/api|src\/api|test\/e2e\/(?:az|sdk)-)/;
/** The rules that the service is held to: policies, retention, jobs, protection, soft delete, charges. */
const ASKED: readonly (readonly [number, number])[] = [
  [4, 4],
  [7, 32],
  [40, 45],
  [53, 61],
  [70, 70],
  [75, 79],
];

/** The promises of the service, which are shown through the API, too, whatever else shows them. */
const SERVICE = [1, 6, 9, 10, 21, 22, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 38];

let ran: readonly Ran[];

before(() => {
  const report = process.env['HOLDFAST_TESTS_RAN'];
  const how =
    "it compares with what ran before it: node test/run-tests.ts 'test/mission/*.test.ts'";
  assert.ok(report !== undefined, how);
  ran = JSON.parse(readFileSync(report, 'utf8')) as Ran[];
});

/** Tests and groups that are there to show a promise or a rule, however they ended. */
function named(): readonly Ran[] {
  return ran.filter(({ name, file }) => idsOf(name).length > 0 || file.startsWith(MISSION));
}

/** Those that a name begins with: `M24 R70 disks are …`. */
function idsOf(name: string): readonly string[] {
  const begin = /^(?:[MR]\d+\w*[,:]? )+/.exec(name)?.[0] ?? '';
  return begin.match(/[MR]\d+\w*/g) ?? [];
}

/** What no test among these shows. */
function missing(
  table: Readonly<Record<string, readonly RegExp[]>>,
  among: readonly Ran[],
): readonly string[] {
  const passed = among.filter(({ isGroup, passed: isPassed }) => isPassed && !isGroup);
  return Object.entries(table).flatMap(([id, needed]) => {
    const ofId = passed.filter(({ name }) => idsOf(name).includes(id));
    return needed
      .filter((pattern) => !ofId.some(({ name }) => pattern.test(name)))
      .map((pattern) => `${id} … ${pattern.source}`);
  });
}

test('every promise shown so far has its tests, which ran and passed', () => {
  assert.deepEqual(missing(PROMISES, ran), [], 'no test of these names ran and passed');
});

test('every rule shown so far has its tests through the API, which ran and passed', () => {
  const throughApi = ran.filter(({ file }) => API.test(file));
  assert.deepEqual(missing(RULES, throughApi), [], 'no test of these names ran and passed');
});

test('every promise of the service has a test through the API, which ran and passed', () => {
  const ids = SERVICE.map((number) => `M${number}`);
  const throughApi = ran.filter(({ file }) => API.test(file));
  const any = Object.fromEntries(ids.map((id) => [id, [/./]]));
  assert.deepEqual(missing(any, throughApi), []);
});

test('every rule that is asked is shown, or it is said why not yet', () => {
  const asked = ASKED.flatMap(([from, to]) =>
    Array.from({ length: to - from + 1 }, (_, index) => `R${from + index}`),
  );
  const known = [...Object.keys(RULES), ...Object.keys(NOT_YET)];
  assert.deepEqual(
    asked.filter((id) => !known.includes(id)),
    [],
  );
  assert.deepEqual(
    [...known, ...OTHER_RULES].filter((id, index, all) => all.indexOf(id) < index),
    [],
    'and it is one of both',
  );
  assert.deepEqual(
    Object.keys(RULES).filter((id) => RULES[id]!.length === 0),
    [],
  );
  assert.deepEqual(
    Object.keys(PARTS_NOT_YET).filter((id) => !(id in RULES) && !(id in PROMISES)),
    [],
  );
});

test('every test that names a promise or a rule names those shown so far, and no two have one name', () => {
  const names = named().flatMap(({ name }) => (idsOf(name).length === 0 ? [] : [name]));
  const known = new Set([...Object.keys(PROMISES), ...Object.keys(RULES), ...OTHER_RULES]);
  const unknown = names.filter((name) => idsOf(name).some((id) => !known.has(id)));
  assert.deepEqual(unknown, []);
  assert.deepEqual(
    names.filter((name, index) => names.indexOf(name) < index),
    [],
  );
});

test('no test of a promise or a rule was skipped, put off or failed', () => {
  assert.deepEqual(
    named().filter(({ passed }) => !passed),
    [],
  );
  const files = new Set(ran.map(({ file }) => file));
  assert.deepEqual(
    globSync(`${MISSION}*.test.ts`).filter((file) => !files.has(file)),
    [],
    'and every file ran',
  );
});
