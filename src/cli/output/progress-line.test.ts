import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#base';
import { ProgressLine } from './progress-line.ts';

const MEBIBYTE = 1024 ** 2;

function makeLine(
  isTerminal: boolean,
  columns = 200,
): {
  clock: FakeClock;
  line: ProgressLine;
  written: string[];
} {
  const clock = new FakeClock();
  const written: string[] = [];
  const line = new ProgressLine({
    clock,
    write: (text) => written.push(text),
    isTerminal,
    columns: () => columns,
  });
  return { clock, line, written };
}

function run(made: ReturnType<typeof makeLine>, steps: number, stepMs: number): void {
  for (let step = 1; step <= steps; step += 1) {
    made.clock.advance(stepMs);
    made.line.report({
      phase: 'backing up vda',
      doneBytes: step * 10 * MEBIBYTE,
      totalBytes: 1000 * MEBIBYTE,
    });
  }
}

test('on a terminal one line is drawn over, at most ten times a second', () => {
  const made = makeLine(true);
  run(made, 50, 20);
  assert.ok(made.written.length <= 11, `drawn ${made.written.length} times`);
  assert.ok(made.written.every((text) => text.startsWith('\r\u001b[K')));
  assert.ok(made.written.every((text) => !text.includes('\n')));
});

test('the line shows phase, bytes, percent, speed and time left', () => {
  const made = makeLine(true);
  run(made, 20, 100);
  assert.match(
    made.written.at(-1)!,
    /backing up vda {2}200 MiB of 1000 MiB {2}20% {2}100 MiB\/s {2}8 s left$/,
  );
});

test('elsewhere a line is written every ten seconds', () => {
  const made = makeLine(false);
  run(made, 95, 250);
  assert.equal(made.written.length, 2);
  assert.ok(made.written.every((text) => text.endsWith('left\n') && !text.includes('\r')));
});

test('the line does not wrap on a narrow terminal', () => {
  const made = makeLine(true, 30);
  run(made, 20, 100);
  assert.ok(made.written.every((text) => text.replace('\r\u001b[K', '').length < 30));
});

test('clearing removes the line, and the next report draws it at once', () => {
  const made = makeLine(true);
  run(made, 1, 100);
  made.line.clear();
  assert.equal(made.written.at(-1), '\r\u001b[K');
  made.line.clear();
  made.line.report({ phase: 'reading', doneBytes: 1 });
  assert.equal(made.written.length, 3);
  assert.match(made.written.at(-1)!, /reading {2}1 B$/);
});

test('another phase begins with no speed of the one before', () => {
  const made = makeLine(true);
  run(made, 20, 100);
  made.clock.advance(100);
  made.line.report({ phase: 'finishing', doneBytes: 0, totalBytes: 10 });
  assert.doesNotMatch(made.written.at(-1)!, /MiB\/s/);
});

test('a terminal that says it has 0 columns is taken for one of 80', () => {
  const made = makeLine(true, 0);
  made.line.announce('x'.repeat(200));
  assert.equal(made.written.at(-1), `\r\u001b[K${'x'.repeat(79)}`);
});

test('what goes on before the first report is shown on a terminal only', () => {
  const terminal = makeLine(true);
  terminal.line.announce('opening the repository');
  assert.deepEqual(terminal.written, ['\r\u001b[Kopening the repository']);
  const file = makeLine(false);
  file.line.announce('opening the repository');
  assert.deepEqual(file.written, []);
});
