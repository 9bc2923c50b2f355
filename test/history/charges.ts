/** What the model charges for (R75, R61, M25, decision 0012): day by day, as it is at its end. */
import { DAY_MS } from './calendar.ts';
import type { Model } from './model.ts';
import { newestOf, type ModelItem } from './rules.ts';
import { instanceBytes, ownedBlocks } from './storage.ts';

const FREE_MS = 14 * DAY_MS;

type Stored = { readonly blocks: number; readonly maps: number };
type Measured = { readonly instance: number; readonly owned: ReadonlyMap<string, Stored> };

export type ChargedDay = {
  readonly day: number;
  readonly isCharged: boolean;
  readonly isEstimated: boolean;
  readonly instance: number;
  readonly stored: Stored;
};

export class ModelCharges {
  /** By item; also of those that are gone. */
  readonly days = new Map<ModelItem, ChargedDay[]>();
  lastRead: number;
  #measured = new Map<ModelItem, Measured>();

  constructor(now: number) {
    this.lastRead = Math.floor(now / DAY_MS) - 1;
  }

  /** Reads the days that have ended. @returns whether there was one. */
  read(model: Model): boolean {
    const ended = Math.floor(model.now / DAY_MS) - 1;
    if (ended === this.lastRead) return false;
    // The clock was set back: those days have not been.
    for (const [item, days] of this.days) {
      this.days.set(
        item,
        days.filter(({ day }) => day <= ended),
      );
    }
    const measured = measure(model, (ended + 1) * DAY_MS);
    for (let day = this.lastRead + 1; day <= ended; day += 1) {
      for (const item of model.items.values()) {
        const isMissed = day < ended;
        const found = (isMissed ? this.#before(item) : undefined) ?? measured.get(item);
        if (found === undefined) continue;
        this.#add(item, { as: found, day, isEstimated: isMissed });
      }
    }
    if (ended > this.lastRead) this.#measured = measured;
    this.lastRead = ended;
    return true;
  }

  /** The sizes of the last reading are lost, the days are not. */
  forget(): void {
    this.#measured.clear();
  }

  /** As the last day was that is still read; what its points own is as it was measured last. */
  #before(item: ModelItem): Measured | undefined {
    const last = this.days.get(item)?.find(({ day }) => day === this.lastRead);
    const measured = this.#measured.get(item);
    if (last === undefined || measured === undefined) return undefined;
    return { ...measured, instance: last.instance };
  }

  #add(
    item: ModelItem,
    { as, day, isEstimated }: { as: Measured; day: number; isEstimated: boolean },
  ): void {
    const end = (day + 1) * DAY_MS;
    const takenAt = new Map(item.points.map(({ id, at }) => [id, at]));
    const owned = [...as.owned].filter(([id]) => (takenAt.get(id) ?? 0) < end);
    if (owned.length === 0) return;
    const stored = { blocks: 0, maps: 0 };
    for (const [, { blocks, maps }] of owned) {
      stored.blocks += blocks;
      stored.maps += maps;
    }
    const { deletedAt, purgeAt } = item;
    const isFree = deletedAt !== undefined && end >= deletedAt && end >= purgeAt! - FREE_MS;
    const read = { day, isCharged: !isFree, isEstimated, instance: as.instance, stored };
    this.days.set(item, [...(this.days.get(item) ?? []), read]);
  }
}

function measure(model: Model, end: number): Map<ModelItem, Measured> {
  const owned = ownedBlocks(model.allPoints());
  const measured = new Map<ModelItem, Measured>();
  for (const item of model.items.values()) {
    const points = item.points.filter(({ at }) => at < end);
    if (points.length === 0) continue;
    const newest = newestOf({ ...item, points }, end);
    measured.set(item, {
      instance: instanceBytes(newest),
      owned: new Map(points.map(({ id }) => [id, owned.get(id)!])),
    });
  }
  return measured;
}
