/**
 * The packs as the index knows them: a local number for each, in log order, and the live bytes in each.
 * A number is never used twice, so records of packs that are gone need no tombstone. Kept by the
 * applier (applier.ts), saved with the index.
 */
import { HoldfastError } from '#base';

type PackRow = {
  readonly id: string;
  /** Sum of the shares of the copies in this pack that count for a live block or page. */
  liveBytes: number;
  /** Sum of all frames' sealed lengths. */
  readonly frameBytes: number;
  readonly slotCount: number;
};

export type PackTableJson = {
  readonly next: number;
  readonly packs: readonly (readonly [number, string, number, number, number])[];
};

export class PackTable {
  readonly #rows = new Map<number, PackRow>();
  readonly #numbers = new Map<string, number>();
  #next = 0;
  #liveBytes = 0;

  /** Of all packs. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Gives `id` the next number; idempotent, but that a pack whose sizes were not known gets them. */
  add(id: string, sizes: { readonly frameBytes: number; readonly slotCount: number }): number {
    const known = this.#numbers.get(id);
    if (known !== undefined) {
      if (this.isEmpty(id)) this.#rows.set(known, { id, liveBytes: 0, ...sizes });
      return known;
    }
    const number = this.#next;
    this.#next += 1;
    this.#rows.set(number, { id, liveBytes: 0, ...sizes });
    this.#numbers.set(id, number);
    return number;
  }

  remove(id: string): void {
    const number = this.#numbers.get(id);
    if (number === undefined) return;
    this.#liveBytes -= this.#rows.get(number)!.liveBytes;
    this.#numbers.delete(id);
    this.#rows.delete(number);
  }

  numberOf(id: string): number | undefined {
    return this.#numbers.get(id);
  }

  idOf(number: number): string | undefined {
    return this.#rows.get(number)?.id;
  }

  /** Whether the pack is here without copies, because its footer could not be read. */
  isEmpty(id: string): boolean {
    return this.#rows.get(this.#numbers.get(id) ?? -1)?.slotCount === 0;
  }

  resetLive(): void {
    for (const row of this.#rows.values()) row.liveBytes = 0;
    this.#liveBytes = 0;
  }

  isGone(number: number): boolean {
    return !this.#rows.has(number);
  }

  addLive(number: number, bytes: number): void {
    const row = this.#rows.get(number);
    if (row === undefined) throw wrong(`pack number ${number} is gone`);
    row.liveBytes += bytes;
    this.#liveBytes += bytes;
    if (row.liveBytes < 0 || row.liveBytes > row.frameBytes) {
      throw wrong(`pack ${row.id} has ${row.liveBytes} live bytes of ${row.frameBytes}`);
    }
  }

  /** Every pack with its number, in log order. */
  *rows(): IterableIterator<Readonly<PackRow> & { readonly number: number }> {
    for (const [number, row] of this.#rows) yield { number, ...row };
  }

  /** Number → id, for readers in other threads; gone packs are absent. */
  ids(): [number, string][] {
    return Array.from(this.#rows, ([number, { id }]) => [number, id]);
  }

  toJson(): PackTableJson {
    return {
      next: this.#next,
      packs: Array.from(this.#rows, ([number, row]) => [
        number,
        row.id,
        row.liveBytes,
        row.frameBytes,
        row.slotCount,
      ]),
    };
  }

  static fromJson(json: PackTableJson): PackTable {
    const table = new PackTable();
    for (const [number, id, liveBytes, frameBytes, slotCount] of json.packs) {
      table.#rows.set(number, { id, liveBytes, frameBytes, slotCount });
      table.#numbers.set(id, number);
      table.#liveBytes += liveBytes;
    }
    table.#next = json.next;
    return table;
  }
}

/** The index cannot be trusted: it is rebuilt when the repository is opened next. */
function wrong(why: string): HoldfastError {
  return new HoldfastError('IndexDamaged', `the index is wrong: ${why}`);
}
