/**
 * The compatibility matrix by real guests: ten cells that stand for it; all of them where `HOLDFAST_MATRIX` is
 * set (`sh scripts/matrix.sh`), and then docs/compatibility.md is written.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { withoutPasswords } from '../cli/holdfast.ts';
import { CELLS, expectedOf, titleOf } from './matrix-cells.ts';
import { compatibilityDocument, writtenByHand } from './matrix-document.ts';
import { runCell, type Outcome } from './matrix.ts';

withoutPasswords();

/** Every value of every column, and the pairs that take ways of their own. */
const REPRESENTATIVE = [
  'QEMU, running, qcow2, agent answers, four disks',
  'QEMU, running, raw, agent answers, one disk',
  'QEMU, running, qcow2, agent hung, one disk',
  'QEMU, paused, qcow2, agent not asked, four disks',
  'QEMU as images, off, raw, agent not asked, four disks',
  'libvirt, running, qcow2, agent answers, four disks',
  'libvirt, running, raw, no agent, one disk',
  'libvirt, running, qcow2, agent hung, one disk',
  'libvirt, paused, qcow2, agent not asked, one disk',
  'libvirt, off, qcow2, agent not asked, four disks',
];

const isWhole = process.env['HOLDFAST_MATRIX'] !== undefined;
const wanted = new Set(isWhole ? CELLS.map(titleOf) : REPRESENTATIVE);
const outcomes: Outcome[] = [];

assert.equal(CELLS.filter((cell) => wanted.has(titleOf(cell))).length, wanted.size);

for (const cell of CELLS.filter((candidate) => wanted.has(titleOf(candidate)))) {
  test(`matrix: ${titleOf(cell)}`, async (t) => {
    const outcome = await runCell(t, cell);
    outcomes.push(outcome);
    const { consistency, tracking, notes } = outcome;
    assert.deepEqual({ consistency, tracking }, expectedOf(cell), notes.join('\n'));
    if (cell.agent === 'hung') {
      assert.ok(notes.some((note) => note.includes('UserErrorGuestAgentStatusUnavailable')));
    }
  });
}

after(() => {
  if (!isWhole) return;
  const path = 'docs/compatibility.md';
  const byHand = writtenByHand(readFileSync(path, 'utf8'));
  writeFileSync(path, `${compatibilityDocument(outcomes)}\n${byHand}`);
});
