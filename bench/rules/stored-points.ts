/**
 * Points in a repository, a thousand at once, by the repository's own sessions. One session stores blocks and map pages
 * of all of them and ends, as a cancelled backup does; then each item's own session finds everything stored, and adds
 * its point. So packs are large, as compaction leaves them, and nothing is there that a backup would not have written.
 */
import { strict as assert } from 'node:assert';
import { BackupSession, commitTogether, type ReadyPoint, type SealedPack } from '#repository';
import { rewriteMap } from '../../src/repository/map/map-builder.ts';
import { levelOneIds } from '../../src/repository/map/map-walk.ts';
import { BlockWriter } from '../../src/repository/writing/block-writer.ts';
import { ClaimTable } from '../../src/repository/writing/claims.ts';
import { UnitWriter } from '../../src/repository/writing/unit-writer.ts';
import type { OpenRepository } from '../measuring/holdfast.ts';

export type StoredPoint = {
  readonly item: string;
  readonly point: string;
  /** Of the manifest. */
  readonly vm: unknown;
  /** By number, below `DISK.blockCount`; the others are as in the item's point before, or zeros. */
  readonly blocks: ReadonlyMap<number, Buffer>;
};

/** One leaf of its map. */
const DISK = { name: 'a', blockCount: 64 };

type Parts = OpenRepository['parts'];

const ZERO_ID = Buffer.alloc(16);
const CLAIMS = 1 << 18;
/** In one entry of the log. */
const COMMITTED_AT_ONCE = 500;

export async function storePoints(
  { parts }: OpenRepository,
  points: readonly StoredPoint[],
): Promise<void> {
  const units = await storeBlocks(parts, points);
  // A session's beginning makes the index durable for its threads: here it is, once for all of them.
  await parts.flushIndex();
  const quick = { ...parts, flushIndex: async () => undefined };
  for (let from = 0; from < points.length; from += COMMITTED_AT_ONCE) {
    const ready: ReadyPoint[] = [];
    for (const point of points.slice(from, from + COMMITTED_AT_ONCE)) {
      ready.push(await readyPoint(quick, point, units.get(point)!));
    }
    await commitTogether(parts, ready);
  }
  await parts.history.checkpoint();
}

/** @returns of each point the id of its disk's level-1 page. */
async function storeBlocks(
  parts: Parts,
  points: readonly StoredPoint[],
): Promise<ReadonlyMap<StoredPoint, Buffer>> {
  const { keyring, keeper } = parts;
  const session = parts.random(16);
  const packs: SealedPack[] = [];
  let counter = 0;
  const writer = new BlockWriter({
    keyring,
    store: parts.store,
    session,
    nextCounter: () => counter++,
    claims: new ClaimTable(ClaimTable.allocate(CLAIMS)),
    isStored: (id) => keeper.isFindable(id),
    onSealed: (pack) => {
      keeper.remember(pack.footer);
      packs.push(pack);
    },
  });
  const id = session.toString('hex');
  const event = { type: 'session-begun', session: id, kind: 'backup', writers: 2 } as const;
  await parts.append(() => ({ ...event, bases: [] }));
  const previous = keeper.reader;
  const isHealing = (): boolean => false;
  const unitWriter = new UnitWriter({ keyring, writer, previous, isHealing });
  const units = new Map<StoredPoint, Buffer>();
  for (const point of points) {
    const oldRoot = newestRoot(parts, point.item);
    const unit = await storeUnit({ parts, unitWriter, oldRoot }, point);
    const changes = new Map([[0, unit]]);
    const putPage = async (page: Buffer): Promise<Buffer> => {
      const pageId = keyring.pageId(page);
      await writer.put('page', page, pageId);
      return pageId;
    };
    await rewriteMap({ pages: previous, oldRoot, changes, putPage });
    units.set(point, unit);
  }
  await writer.finish({ sealAll: true });
  assert.ok(packs.length > 0);
  const logged = packs.map(({ counter: at, kind, sizeBytes }) => ({
    counter: at,
    kind,
    sizeBytes,
  }));
  await parts.append(() => ({
    type: 'session-ended',
    session: id,
    outcome: 'cancelled',
    packs: logged,
  }));
  return units;
}

function newestRoot({ keyring, history }: Parts, item: string): Buffer {
  const { chains, points } = history.state;
  const newest = chains.get(keyring.chainKey(item, DISK.name))?.at(-1);
  const disk = points.get(newest ?? '')?.disks[0];
  return disk === undefined ? ZERO_ID : Buffer.from(disk.root, 'hex');
}

type Unit = { readonly parts: Parts; readonly unitWriter: UnitWriter; readonly oldRoot: Buffer };

async function storeUnit(
  { parts, unitWriter, oldRoot }: Unit,
  { blocks }: StoredPoint,
): Promise<Buffer> {
  const pages = parts.keeper.reader;
  const before = await levelOneIds({ pages, root: oldRoot, fromPage: 0, toPage: 1 });
  await unitWriter.open(before, 1);
  await unitWriter.openLeaf(0);
  for (const [at, bytes] of blocks) await unitWriter.writeBlocks(at, bytes);
  await unitWriter.closeLeaf();
  return await unitWriter.finish();
}

async function readyPoint(
  parts: Parts,
  { item, point, vm, blocks }: StoredPoint,
  unit: Buffer,
): Promise<ReadyPoint> {
  const { blockSize } = parts.keyring;
  const changedBytes = blocks.size * blockSize;
  const diskNames = [DISK.name];
  const session = await BackupSession.begin(parts, {
    item,
    point,
    diskNames,
    threads: 1,
    expectedBytes: 0,
  });
  const sizeBytes = DISK.blockCount * blockSize;
  const bytes = { readBytes: changedBytes, changedBytes, newBytes: 0 };
  const disk = { name: DISK.name, sizeBytes, units: new Map([[0, unit]]), ...bytes };
  return await session.ready([disk], { consistency: 'CrashConsistent', seconds: 0, vm });
}
