/**
 * Metadata verification is a rebuild: the index is made anew in a scratch folder from the log's state,
 * every footer and every page of every map, and compared with the one in use.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isHoldfastError } from '#base';
import type { IndexEntry } from '../block-index/index.ts';
import { IndexKeeper } from '../counting/index-keeper.ts';
import { effectsOfState } from '../opening/open-index.ts';
import type { DamagedCopy } from '../reading/block-reader.ts';
import type { RepositoryParts } from '../repository-parts.ts';

export type ScratchFindings = {
  readonly damage: readonly DamagedCopy[];
  readonly unreadablePacks: readonly string[];
  /** Whether some page of a map could not be read. */
  readonly isIncomplete: boolean;
  /** Ids that points need and of which no copy is left, in hex; the first of them. */
  readonly missing: readonly string[];
  readonly missingCount: number;
  readonly recordCount: number;
  /** Whether the index in use says the same; the first id that differs, if any. */
  readonly indexAgrees: boolean;
  readonly firstDifference: string | undefined;
  /** Why the index in use could not be read to its end. */
  readonly indexDamage: string | undefined;
};

const MISSING_SHOWN = 1000;

/** Rebuilds in a scratch folder and compares. The history stands still meanwhile. */
export async function verifyMetadata(parts: RepositoryParts): Promise<ScratchFindings> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-verify-'));
  const damage: DamagedCopy[] = [];
  const { store, keyring, history } = parts;
  const scratch = await IndexKeeper.create(join(folder, 'index'), {
    store,
    keyring,
    state: history.state,
    refresh: () => Promise.resolve(false),
    onDamage: (copy) => damage.push(copy),
    followsMarks: false,
  });
  try {
    return await history.exclusively(async () => {
      const { number, hash } = history.state;
      const entry = { number, hash, type: 'owner' } as const;
      await scratch.apply(entry, effectsOfState(history.state), { isStrict: false });
      await scratch.flush();
      await parts.keeper.flush();
      const compared = await compare(parts.keeper, scratch);
      return {
        damage,
        unreadablePacks: [...scratch.unreadablePacks],
        isIncomplete: scratch.isIncomplete,
        ...compared,
      };
    });
  } finally {
    await scratch.close();
    await rm(folder, { recursive: true, force: true });
  }
}

type Compared = Pick<
  ScratchFindings,
  'missing' | 'missingCount' | 'recordCount' | 'indexAgrees' | 'firstDifference' | 'indexDamage'
>;

async function compare(kept: IndexKeeper, made: IndexKeeper): Promise<Compared> {
  const missing: string[] = [];
  let [missingCount, recordCount] = [0, 0];
  let firstDifference: string | undefined;
  let indexDamage: string | undefined;
  const readable = upToDamage(describedEntries(kept), (why) => {
    indexDamage = why;
  });
  for await (const { id, left, right } of sideBySide(readable, describedEntries(made))) {
    if (left?.text !== right?.text) firstDifference ??= id;
    if (right === undefined) continue;
    recordCount += 1;
    if (!right.isMissing) continue;
    missingCount += 1;
    if (missing.length < MISSING_SHOWN) missing.push(id);
  }
  firstDifference ??= differingFigures(kept, made);
  const indexAgrees = firstDifference === undefined && indexDamage === undefined;
  return { missing, missingCount, recordCount, indexAgrees, firstDifference, indexDamage };
}

/** Ends where the index cannot be read on. */
async function* upToDamage(
  entries: AsyncGenerator<Described, undefined>,
  tell: (why: string) => void,
): AsyncGenerator<Described, undefined> {
  try {
    yield* entries;
  } catch (error) {
    if (!isHoldfastError(error, 'IndexDamaged')) throw error;
    tell(error.message);
  }
  return undefined;
}

type Pair = {
  readonly id: string;
  readonly left: Described | undefined;
  readonly right: Described | undefined;
};

/** Walks two sequences in id order; what only one has, stands alone. */
async function* sideBySide(
  one: AsyncGenerator<Described, undefined>,
  other: AsyncGenerator<Described, undefined>,
): AsyncGenerator<Pair> {
  let left = (await one.next()).value;
  let right = (await other.next()).value;
  while (left !== undefined || right !== undefined) {
    const order = compareIds(left?.id, right?.id);
    const pair = {
      id: (order <= 0 ? left : right)!.id,
      left: order <= 0 ? left : undefined,
      right: order >= 0 ? right : undefined,
    };
    yield pair;
    if (pair.left !== undefined) left = (await one.next()).value;
    if (pair.right !== undefined) right = (await other.next()).value;
  }
}

/** The first pack whose live bytes, or point whose owned blocks, the indexes give differently. */
function differingFigures(kept: IndexKeeper, made: IndexKeeper): string | undefined {
  const figures = (keeper: IndexKeeper): Map<string, number> => {
    const packs = Array.from(keeper.packs.rows(), (row) => [row.id, row.liveBytes] as const);
    return new Map([...packs, ...keeper.ownedByPoint()].filter(([, figure]) => figure !== 0));
  };
  const [a, b] = [figures(kept), figures(made)];
  return [...a.keys(), ...b.keys()].find((key) => a.get(key) !== b.get(key));
}

/** An end sorts after everything. */
function compareIds(a: string | undefined, b: string | undefined): number {
  if (a === b) return 0;
  if (a === undefined) return 1;
  if (b === undefined) return -1;
  return a < b ? -1 : 1;
}

type Described = { readonly id: string; readonly text: string; readonly isMissing: boolean };

/** What an index says of each id, in words that do not depend on local numbers. */
async function* describedEntries(keeper: IndexKeeper): AsyncGenerator<Described, undefined> {
  for await (const entry of keeper.index.entries()) {
    const copies = readableCopies(keeper, entry);
    if (entry.count === 0 && copies.length === 0) continue;
    yield {
      id: entry.id.toString('hex'),
      text: `${entry.count} ${copies.join(' ')}`,
      isMissing: entry.count > 0 && copies.length === 0,
    };
  }
  return undefined;
}

function readableCopies(keeper: IndexKeeper, entry: IndexEntry): string[] {
  const copies: string[] = [];
  for (let at = 0; at < entry.copyCount; at += 1) {
    const [pack, frame, slot] = [entry.packs[at]!, entry.frames[at]!, entry.slots[at]!];
    if (!keeper.rules.isReadable(pack, frame)) continue;
    copies.push(`${keeper.packs.idOf(pack)}/${frame}/${slot}/${entry.shares[at]}`);
  }
  return copies.sort();
}
