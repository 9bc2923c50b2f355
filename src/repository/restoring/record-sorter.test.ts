import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import fc from 'fast-check';
import { readRecord, RECORD_BYTES, type PlaceRecord } from './place-record.ts';
import { RecordSorter } from './record-sorter.ts';

const place = fc.record({
  pack: fc.oneof(fc.nat(3), fc.constantFrom(0xffff_ffff, 0x8000_0000)),
  frame: fc.oneof(fc.nat(3), fc.constant(4095)),
  slot: fc.nat(255),
  disk: fc.nat(255),
  block: fc.nat(2 ** 31).map((low) => low * 32),
});

async function sortedBy(
  sorter: RecordSorter,
  records: readonly PlaceRecord[],
): Promise<PlaceRecord[]> {
  for (const record of records) {
    if (sorter.isFull) await sorter.spill();
    sorter.add(record);
  }
  const sorted: PlaceRecord[] = [];
  for await (const chunk of sorter.sorted()) {
    for (let at = 0; at < chunk.length / RECORD_BYTES; at += 1) {
      const record = readRecord(chunk, at);
      sorted.push({ ...record, id: Buffer.from(record.id) });
    }
  }
  await sorter.close();
  return sorted;
}

test('records come sorted by pack and frame, in the order added within a frame', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(place, { maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      async (places, inMemory) => {
        const records = places.map((known) => ({ ...known, id: randomBytes(16) }));
        const expected = records.toSorted((a, b) => a.pack - b.pack || a.frame - b.frame);
        assert.deepEqual(await sortedBy(new RecordSorter(inMemory), records), expected);
      },
    ),
    { numRuns: 60 },
  );
});

test('many spilled runs are merged, and nothing stays in the temporary folder', async () => {
  const folders = (): string[] =>
    readdirSync(tmpdir()).filter((name) => name.startsWith('holdfast-restore-'));
  const before = folders();
  const records = Array.from({ length: 30_000 }, (_, at) => ({
    id: Buffer.alloc(16, at),
    pack: (at * 7919) % 13,
    frame: (at * 31) % 997,
    slot: at % 255,
    disk: 0,
    block: at,
  }));
  const expected = records.toSorted((a, b) => a.pack - b.pack || a.frame - b.frame);
  const sorted = await sortedBy(new RecordSorter(1000), records);
  assert.deepEqual(
    sorted.map(({ block }) => block),
    expected.map(({ block }) => block),
  );
  for (const folder of folders()) {
    if (!before.includes(folder)) assert.equal(existsSync(`${tmpdir()}/${folder}`), false);
  }
});
