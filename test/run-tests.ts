/**
 * Runs the tests, as `node --test` does, and at the end `test/ids.test.ts`, which is given a report of
 * what ran before it: which tests passed, and which were skipped, put off or failed. Both are shown as one
 * run with one summary, and the exit code is 1 if either fails.
 *
 *     run-tests.ts PATTERN …      for example 'src/**\/*.test.ts' 'test/**\/*.test.ts'
 */
import { globSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { run } from 'node:test';
import { spec, type TestEvent } from 'node:test/reporters';

/** One test or group of tests that came to its end. */
export type Ran = {
  readonly name: string;
  readonly file: string;
  readonly isGroup: boolean;
  /** Passed, and nothing else: neither skipped nor put off nor expected to fail. */
  readonly passed: boolean;
};

const CONCURRENCY = 2;
/** A file that hangs fails, and the others go on; long tests take hours. */
const FILE_MS = process.env['HOLDFAST_TEST_LONG'] === undefined ? 15 * 60_000 : Infinity;
/** Run after all others, with their report. */
const LAST = 'test/ids.test.ts';
/** `node:test` counts in lines of this form at the end of a run. */
const COUNT =
  /^(?<what>tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) (?<count>[\d.]+)$/;

type EndEvent = Extract<TestEvent, { type: 'test:pass' | 'test:fail' }>;
type SummaryEvent = Extract<TestEvent, { type: 'test:summary' }>;

const ran: Ran[] = [];
const counts = new Map<string, number>();
const summaries: SummaryEvent[] = [];

/** The events of both runs but for their counts, then those of both together. */
async function* bothRuns(files: readonly string[]): AsyncGenerator<TestEvent> {
  const paths = files.map((file) => resolve(file));
  yield* withoutCounts(run({ files: paths, concurrency: CONCURRENCY, timeout: FILE_MS }));
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-tests-'));
  try {
    const report = join(folder, 'ran.json');
    writeFileSync(report, JSON.stringify(ran));
    process.env['HOLDFAST_TESTS_RAN'] = report;
    yield* withoutCounts(run({ files: [resolve(LAST)] }));
  } finally {
    rmSync(folder, { recursive: true });
  }
  for (const [what, count] of counts) {
    const message = `${what} ${count}`;
    yield { type: 'test:diagnostic', data: { nesting: 0, message, level: 'info' } };
  }
  const last = summaries.at(-1);
  if (last !== undefined) yield { ...last, data: { ...last.data, success: succeeded() } };
}

async function* withoutCounts(events: AsyncIterable<TestEvent>): AsyncGenerator<TestEvent> {
  for await (const event of events) {
    if (event.type === 'test:pass' || event.type === 'test:fail') ran.push(ranOf(event));
    if (event.type === 'test:summary' && event.data.file === undefined) summaries.push(event);
    else if (!addsCount(event)) yield event;
  }
}

function ranOf({ type, data }: EndEvent): Ran {
  const { name, file = '', details, skip, todo } = data;
  const { expectFailure } = data as { readonly expectFailure?: unknown };
  const isPlain = [skip, todo, expectFailure].every((mark) => mark === undefined);
  return {
    name,
    file: relative('.', file),
    isGroup: details.type === 'suite',
    passed: type === 'test:pass' && isPlain,
  };
}

/** Adds a count of a whole run to those before; false: it is something else. */
function addsCount({ type, data }: TestEvent): boolean {
  if (type !== 'test:diagnostic' || data.nesting > 0 || data.file !== undefined) return false;
  const { what, count } = COUNT.exec(data.message)?.groups ?? {};
  if (what === undefined) return false;
  counts.set(what, (counts.get(what) ?? 0) + Number(count));
  return true;
}

/** Both runs came to their end, and nothing failed. */
function succeeded(): boolean {
  return summaries.length === 2 && summaries.every(({ data }) => data.success);
}

const files = globSync(process.argv.slice(2)).filter((file) => file !== LAST);
process.exitCode = 1;
await pipeline(Readable.from(bothRuns(files.toSorted())), new spec(), process.stdout, {
  end: false,
});
if (succeeded()) process.exitCode = 0;
