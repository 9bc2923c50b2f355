/**
 * What the model says of stored bytes (M27–M31, R26–R28): blocks that are not zero are stored once, each belongs to the
 * oldest point that holds it, and goes with the last. Bytes of blocks are known within their seal; of map pages only
 * that equal disks have equal ones, and how much they may take.
 */
import assert from 'node:assert/strict';
import type { ModelPoint } from './rules.ts';

export const BLOCK = 16_384;
/** What sealing adds to a block that cannot be compressed. */
const SEAL = 16;
/** Six pages of a disk of few blocks, compressed and sealed. */
const MAP_BYTES = 1600;

type Held = Pick<ModelPoint, 'id' | 'content'>;

/** Blocks and maps that a set of points needs. */
function heldBy(points: readonly Held[]): { blocks: Set<number>; maps: Set<string> } {
  const blocks = new Set<number>();
  const maps = new Set<string>();
  for (const tokens of points.flatMap(({ content }) => [...content.values()])) {
    for (const token of tokens) if (token !== 0) blocks.add(token);
    const map = tokens.join(' ').replace(/( 0)+$/, '');
    if (map !== '0') maps.add(map);
  }
  return { blocks, maps };
}

/** Checks by how much what is stored falls when those points go, of all. */
export function assertFreed(
  bytes: number,
  of: { all: readonly Held[]; gone: ReadonlySet<string>; what: string },
): void {
  const { all, gone, what } = of;
  const before = heldBy(all);
  const after = heldBy(all.filter(({ id }) => !gone.has(id)));
  assertBytes(bytes, {
    blocks: before.blocks.size - after.blocks.size,
    maps: before.maps.size - after.maps.size,
    what,
  });
}

/** @param points in the order in which they came. @returns how many blocks each owns, and of how many maps pages. */
export function ownedBlocks(
  points: readonly Held[],
): Map<string, { blocks: number; maps: number }> {
  const owned = new Map<string, { blocks: number; maps: number }>();
  const known = { blocks: new Set<number>(), maps: new Set<string>() };
  for (const point of points) {
    const { blocks, maps } = heldBy([point]);
    const fresh = blocks.difference(known.blocks);
    owned.set(point.id, { blocks: fresh.size, maps: maps.size });
    for (const block of fresh) known.blocks.add(block);
  }
  return owned;
}

export function assertBytes(
  bytes: number,
  of: { blocks: number; maps: number; what: string },
): void {
  const { blocks, maps, what } = of;
  const [least, most] = [blocks * BLOCK, blocks * (BLOCK + SEAL) + maps * MAP_BYTES];
  const told = `${what}: ${bytes} bytes, ${blocks} blocks and ${maps} maps are ${least} to ${most}`;
  assert.ok(bytes >= least && bytes <= most, told);
}

/** Blocks of the newest point that are not zero, in bytes (M26). */
export function instanceBytes(point: Held | undefined): number {
  const tokens = [...(point?.content.values() ?? [])].flat();
  return tokens.filter((token) => token !== 0).length * BLOCK;
}
