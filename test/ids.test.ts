/**
 * What is promised is tested under its name: the promises shown so far, by id, compared with the names that
 * the files in `test/mission/` hand to the test runner. They are imported with a recorder in place of
 * `node:test`, so that names made in loops count, text that no runner sees does not, and tests that are
 * skipped in any way are seen. What they prove, they prove where `npm test` runs them.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { resolve } from 'node:path';
import { before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

/** Each promise with what must at least be among its tests. */
const PROMISES: Readonly<Record<string, readonly RegExp[]>> = {
  M7: [/four disks are read at once/, /each is begun before any is done/],
  M8: [/of each disk exactly the changed blocks/, /with a hint only its extents are read/],
  M12: [/no byte of the repository shows/, /wrong password is refused/, /without encryption/],
  M18: [/without a hint/, /a hint that misses changes is caught/],
  M19: [/an added disk joins the next backup/, /removed and comes back/],
  M28: [/four 16 KiB blocks, three steps/, /a change of 1 KB/, /a change of 1 byte/],
  M30: [/D1\+D2, then D3, then D2′\+D3′/, /agree to the byte/],
  M31: [
    /case 1, as in step 2/,
    /case 1, as in its text/,
    /case 2, as in its text/,
    /case 2, as in step 3/,
    /case 3: .* 10 days .* end of day 14/,
  ],
  M37: [/8 TiB disk with 5 % churn/, /work of an increment with a hint follows the churn/],
};

type Recorded = { readonly name: string; readonly isRun: boolean };

const FILES = globSync('test/mission/*.test.ts');
const recorded: Recorded[] = [];

/** Takes the place of `node:test` in the files of `test/mission/`. */
const RECORDER = `
  const record = (isRun) => (name, options) => {
    const passedOver = ['skip', 'todo', 'only'].some((word) => (options?.[word] ?? false) !== false);
    globalThis.recordTest({ name, isRun: isRun && !passedOver });
  };
  const variants = { skip: record(false), todo: record(false), only: record(false) };
  export const test = Object.assign(record(true), variants);
  export const it = test;
  const group = (isRun) => (name, ...rest) => {
    if (!isRun) globalThis.recordTest({ name, isRun });
    rest.at(-1)();
  };
  export const describe = Object.assign(group(true), {
    skip: group(false), todo: group(false), only: group(false),
  });
  export const suite = describe;
  export const before = () => {};
  export { before as after, before as beforeEach, before as afterEach };
`;

before(async () => {
  Object.assign(globalThis, { recordTest: (found: Recorded) => recorded.push(found) });
  const folder = pathToFileURL(`${resolve('test/mission')}/`).href;
  const hooks = registerHooks({
    resolve: (specifier, context, next) => {
      const isMission = context.parentURL?.startsWith(folder) === true;
      if (specifier !== 'node:test' || !isMission) return next(specifier, context);
      return { url: `data:text/javascript,${encodeURIComponent(RECORDER)}`, shortCircuit: true };
    },
  });
  for (const file of FILES) await import(pathToFileURL(resolve(file)).href);
  hooks.deregister();
});

test('every promise shown so far has its tests, and every test its promise', () => {
  const names = recorded.map(({ name }) => name);
  for (const [id, needed] of Object.entries(PROMISES)) {
    const ofId = names.filter((name) => name.startsWith(`${id} `));
    for (const pattern of needed) {
      assert.ok(
        ofId.some((name) => pattern.test(name)),
        `no test is named ${id} … ${pattern.source}`,
      );
    }
  }
  const unknown = names.filter((name) => /^M\d/.test(name) && !(name.split(' ')[0]! in PROMISES));
  assert.deepEqual(unknown, []);
  assert.equal(new Set(names).size, names.length, 'no name is there twice');
});

test('no mission test is skipped, put off or run alone', () => {
  assert.ok(recorded.length > 40);
  assert.deepEqual(
    recorded.filter(({ isRun }) => !isRun),
    [],
  );
  // And none gives up while it runs.
  const givesUp = /\.(?:skip|todo|only)\s*\(|\b(?:skip|todo|only)\s*:/;
  assert.deepEqual(
    FILES.filter((file) => givesUp.test(readFileSync(file, 'utf8'))),
    [],
  );
});
