/** M7: the disks of a VM are backed up in parallel, as their NBD servers see it. No time is measured. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { startNbdServer, type ServedDisk } from '#disk';
import { BLOCK, makeImage, MIB, noise } from './images.ts';
import { MissionRepository, type MissionDisk } from './mission-repository.ts';
import { nbdkitLog, type LoggedRead } from './nbdkit.ts';

const NAMES = ['a', 'b', 'c', 'd'];
/** What one page above the leaves of a map describes: threads are given some dozens at a time. */
const UNIT_BYTES = 4096 * BLOCK;
const UNITS = 160;

/** A disk that answers no read before each disk of `gate` was asked for one. */
function gatedDisk(name: string, content: Buffer, gate: Gate): ServedDisk {
  return {
    sizeBytes: content.length,
    read: async (offset, target) => {
      await gate.pass(name);
      content.copy(target, 0, offset, offset + target.length);
    },
  };
}

/** Opens when all have come. */
class Gate {
  readonly #awaited: Set<string>;
  readonly #opened = Promise.withResolvers<undefined>();

  constructor(names: readonly string[]) {
    this.#awaited = new Set(names);
  }

  async pass(name: string): Promise<void> {
    this.#awaited.delete(name);
    if (this.#awaited.size === 0) this.#opened.resolve(undefined);
    await this.#opened.promise;
  }
}

const DEADLOCK = { timeout: 120_000 };

test(
  'M7 four disks are read at once: none is answered before all four were asked',
  DEADLOCK,
  async (t) => {
    const vault = await MissionRepository.create(t);
    const gate = new Gate(NAMES);
    const contents = NAMES.map((name) => noise(name, 2 * MIB));
    const exports = new Map(NAMES.map((name, at) => [name, gatedDisk(name, contents[at]!, gate)]));
    const server = await startNbdServer({
      exports,
      listen: { socketPath: join(vault.folder, 'gated.sock') },
    });
    t.after(async () => await server.close());
    const disks = NAMES.map((name) => ({ name, location: server.uri(name) }));
    // One after the other this would wait for ever.
    const { pointId } = await vault.backUpUnseen(disks, { threads: 4 });
    const images = await Promise.all(
      NAMES.map(async (name, at): Promise<MissionDisk> => {
        const location = vault.path(`${name}.raw`);
        await makeImage(location, 2 * MIB, [{ offset: 0, bytes: contents[at]! }]);
        return { name, location };
      }),
    );
    await vault.assertSame(pointId, images);
  },
);

for (const threads of [1, 2, 4]) {
  test(`M7 four disks go on side by side with ${threads} threads: each is begun before any is done`, async (t) => {
    const vault = await MissionRepository.create(t);
    const images = NAMES.map((name) => ({ name, location: vault.path(`${name}.raw`) }));
    for (const { name, location } of images) {
      const writes = Array.from({ length: UNITS }, (_, unit) => ({
        offset: unit * UNIT_BYTES,
        bytes: noise(`${name} ${unit}`, 2 * BLOCK),
      }));
      await makeImage(location, UNITS * UNIT_BYTES, writes);
    }
    const server = await nbdkitLog(t, vault.folder, { delayMs: 2 });
    const disks = NAMES.map((name) => ({ name, location: server.uri(`${name}.raw`) }));
    const { pointId } = await vault.backUpUnseen(disks, { threads });

    const reads = NAMES.map((name) =>
      server.reads().filter(({ image }) => image === `${name}.raw`),
    );
    const begun = reads.map((ofDisk) => Math.min(...ofDisk.map(({ asked }) => asked)));
    const done = reads.map((ofDisk) => Math.max(...ofDisk.map(({ answered }) => answered)));
    assert.ok(Math.max(...begun) < Math.min(...done), `begun ${begun.join()}; done ${done.join()}`);
    assert.ok(
      mostDisksAtOnce(reads.flat()) >= Math.min(threads, 2),
      'reads of several disks overlap',
    );
    const { disks: found } = (await vault.sizes()).find(({ id }) => id === pointId)!;
    assert.deepEqual(
      found.map(({ owned }) => owned),
      NAMES.map(() => UNITS * 2 * BLOCK),
    );
  });
}

/** How many disks had a read under way at the same place of the log. */
function mostDisksAtOnce(reads: readonly LoggedRead[]): number {
  const counts = reads.map(({ asked }) => {
    const open = reads.filter((read) => read.asked <= asked && read.answered > asked);
    return new Set(open.map(({ image }) => image)).size;
  });
  return Math.max(...counts);
}
