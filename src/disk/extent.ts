/**
 * Extents: ranges of a disk in bytes, and the arithmetic on lists of them.
 *
 * A list is *normal* when it is sorted, its extents are not empty and neither overlap nor touch.
 * Every function here returns normal lists; those that need normal input say so.
 */

export type Extent = {
  readonly offset: number;
  readonly length: number;
};

/** Sorts, drops empty extents and joins those that overlap, touch or lie up to `gapBytes` apart. */
export function normaliseExtents(extents: readonly Extent[], gapBytes = 0): Extent[] {
  const sorted = extents
    .filter((extent) => extent.length > 0)
    .toSorted((left, right) => left.offset - right.offset);
  const joined: Extent[] = [];
  for (const extent of sorted) appendExtent(joined, extent, gapBytes);
  return joined;
}

/** Appends in place to a normal list whose last extent starts at or before `extent`. */
function appendExtent(list: Extent[], extent: Extent, gapBytes: number): void {
  const last = list.at(-1);
  if (last === undefined || last.offset + last.length + gapBytes < extent.offset) {
    list.push(extent);
    return;
  }
  const end = Math.max(last.offset + last.length, extent.offset + extent.length);
  list[list.length - 1] = { offset: last.offset, length: end - last.offset };
}

/** What lies in both lists; both must be normal. */
export function intersectExtents(left: readonly Extent[], right: readonly Extent[]): Extent[] {
  const both: Extent[] = [];
  let leftAt = 0;
  let rightAt = 0;
  while (leftAt < left.length && rightAt < right.length) {
    const one = left[leftAt]!;
    const other = right[rightAt]!;
    const start = Math.max(one.offset, other.offset);
    const end = Math.min(one.offset + one.length, other.offset + other.length);
    if (start < end) both.push({ offset: start, length: end - start });
    if (one.offset + one.length === end || one.offset + one.length < other.offset + other.length) {
      leftAt += 1;
    } else {
      rightAt += 1;
    }
  }
  return both;
}

/** What lies in `from` and not in `removed`; both must be normal. */
export function subtractExtents(lists: {
  readonly from: readonly Extent[];
  readonly removed: readonly Extent[];
}): Extent[] {
  const left: Extent[] = [];
  let removedAt = 0;
  for (const { offset, length } of lists.from) {
    let start = offset;
    const end = offset + length;
    while (removedAt < lists.removed.length && start < end) {
      const removed = lists.removed[removedAt]!;
      if (removed.offset >= end) break;
      if (removed.offset > start) left.push({ offset: start, length: removed.offset - start });
      start = Math.max(start, removed.offset + removed.length);
      // A removed extent that reaches past this one may also cut the next: keep it.
      if (removed.offset + removed.length > end) break;
      removedAt += 1;
    }
    if (start < end) left.push({ offset: start, length: end - start });
  }
  return left;
}

/** Grows every extent outwards to multiples of `blockBytes`, not past `sizeBytes` (the disk's end). */
export function alignExtents(
  extents: readonly Extent[],
  bounds: { readonly blockBytes: number; readonly sizeBytes: number },
): Extent[] {
  const { blockBytes, sizeBytes } = bounds;
  return normaliseExtents(
    normaliseExtents(extents).map(({ offset, length }) => {
      const start = Math.floor(offset / blockBytes) * blockBytes;
      const end = Math.min(Math.ceil((offset + length) / blockBytes) * blockBytes, sizeBytes);
      return { offset: start, length: end - start };
    }),
  );
}

/** The sum of the lengths. */
export function totalBytes(extents: readonly Extent[]): number {
  return extents.reduce((sum, extent) => sum + extent.length, 0);
}

const DEFAULT_MAX_COUNT = 1 << 20;
const FIRST_GAP_BYTES = 64 * 1024;

/**
 * Gathers data extents that arrive in ascending order, in bounded memory: when there are more than
 * `maxCount`, holes below a growing size are taken for data. The result covers all that was added.
 */
export class ExtentCollector {
  readonly #maxCount: number;
  #gapBytes = 0;
  #extents: Extent[] = [];

  constructor(maxCount = DEFAULT_MAX_COUNT) {
    this.#maxCount = maxCount;
  }

  add(extent: Extent): void {
    if (extent.length === 0) return;
    appendExtent(this.#extents, extent, this.#gapBytes);
    while (this.#extents.length > this.#maxCount) {
      this.#gapBytes = this.#gapBytes === 0 ? FIRST_GAP_BYTES : this.#gapBytes * 2;
      this.#extents = normaliseExtents(this.#extents, this.#gapBytes);
    }
  }

  /** The normal list of what was added so far. */
  extents(): Extent[] {
    return this.#extents;
  }
}
