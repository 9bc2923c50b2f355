/**
 * The keys of an open repository and everything derived from them (docs/format.md §4): ids of blocks,
 * pages, items and chains, and the keys that seal objects and packs. Keeps part of invariant 8: one
 * key per label, generation and pack.
 *
 * Keys are KeyObjects: an HMAC with one takes 9.3 µs for 16 KiB (8.5 µs are SHA-256 itself) and
 * 2.2 µs for 1 KiB; with a Buffer as key 17.3 and 10.5 µs. A copied hash state, and HMAC built
 * from two `crypto.hash` calls, were no faster (10.1 and 9.3 µs; 3.2 and 2.7 µs).
 */

import { createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import assert from 'node:assert/strict';

import { HoldfastError } from '#base';

import { assertBlockSize } from './block-size.ts';
import type { RandomBytes } from './random-bytes.ts';

/** What a key seals; packs have keys of their own. */
export type KeyLabel = 'log' | 'checkpoint' | 'manifest' | 'document' | 'slot' | 'secrets';

/** The keys as plain bytes, for a worker thread of this process or for a key slot. Secret. */
export type KeyringData = {
  readonly repositoryId: Uint8Array;
  readonly blockSize: number;
  readonly idKey: Uint8Array;
  readonly masters: readonly { readonly generation: number; readonly key: Uint8Array }[];
};

export const REPOSITORY_ID_BYTES = 16;
const PACK_ID_BYTES = 20;
export const KEY_BYTES = 32;

const ID_BYTES = 16;
const BLOCK_KIND = Buffer.from([1]);
const PAGE_KIND = Buffer.from([2]);
const ITEM_KIND = Buffer.from([3]);
const CHAIN_KIND = Buffer.from([4]);
const NAME_END = Buffer.from([0]);

export class Keyring {
  readonly repositoryId: Buffer;
  readonly blockSize: number;
  /** The newest generation: what is sealed from now on is sealed with it. */
  readonly generation: number;
  readonly #idKey: KeyObject;
  readonly #masters: ReadonlyMap<number, KeyObject>;
  readonly #sealingKeys = new Map<string, KeyObject>();

  private constructor(data: KeyringData) {
    assert.equal(data.repositoryId.length, REPOSITORY_ID_BYTES);
    assert.equal(data.idKey.length, KEY_BYTES);
    assert(data.masters.length > 0, 'a keyring without a master key');
    assertBlockSize(data.blockSize);
    const masters = new Map<number, KeyObject>();
    for (const { generation, key } of data.masters) {
      assert.equal(key.length, KEY_BYTES);
      assert(Number.isInteger(generation) && generation >= 1 && generation <= 0xffff_ffff);
      assert(!masters.has(generation), 'one master key per generation');
      masters.set(generation, createSecretKey(key));
    }
    this.repositoryId = Buffer.from(data.repositoryId);
    this.blockSize = data.blockSize;
    this.generation = Math.max(...masters.keys());
    this.#idKey = createSecretKey(data.idKey);
    this.#masters = masters;
  }

  /** New keys for a new repository, of generation 1, with a new repository id. */
  static create(options: { readonly blockSize: number; readonly random: RandomBytes }): Keyring {
    const { blockSize, random } = options;
    return new Keyring({
      repositoryId: random(REPOSITORY_ID_BYTES),
      blockSize,
      idKey: random(KEY_BYTES),
      masters: [{ generation: 1, key: random(KEY_BYTES) }],
    });
  }

  static fromWorkerData(data: KeyringData): Keyring {
    return new Keyring(data);
  }

  /** Copies of the keys; whoever gets them can read everything. Never logged, never stored. */
  toWorkerData(): KeyringData {
    return {
      repositoryId: Uint8Array.from(this.repositoryId),
      blockSize: this.blockSize,
      idKey: exportKey(this.#idKey),
      masters: [...this.#masters].map(([generation, key]) => ({ generation, key: exportKey(key) })),
    };
  }

  /** @returns 16 bytes. The caller knows that all-zero content has the id of zeros instead. */
  blockId(content: Uint8Array): Buffer {
    const mac = createHmac('sha256', this.#idKey).update(BLOCK_KIND).update(content).digest();
    return mac.subarray(0, ID_BYTES);
  }

  /** @returns 16 bytes; as `blockId`, for a page of the map. */
  pageId(content: Uint8Array): Buffer {
    const mac = createHmac('sha256', this.#idKey).update(PAGE_KIND).update(content).digest();
    return mac.subarray(0, ID_BYTES);
  }

  /** @returns 32 hex digits: what an item is called in object names and in the log. */
  itemId(item: string): string {
    const mac = createHmac('sha256', this.#idKey).update(ITEM_KIND).update(nameBytes(item));
    return mac.digest().toString('hex', 0, ID_BYTES);
  }

  /** @returns 32 hex digits: the chain of the item's disk of that name. */
  chainKey(item: string, disk: string): string {
    const mac = createHmac('sha256', this.#idKey).update(CHAIN_KIND);
    mac.update(nameBytes(item)).update(NAME_END).update(nameBytes(disk));
    return mac.digest().toString('hex', 0, ID_BYTES);
  }

  hasGeneration(generation: number): boolean {
    return this.#masters.has(generation);
  }

  /** @throws {HoldfastError} `ObjectDamaged` if there is no such generation. */
  sealingKey(label: KeyLabel, generation: number): KeyObject {
    const cacheKey = `${generation}/${label}`;
    const cached = this.#sealingKeys.get(cacheKey);
    if (cached !== undefined) return cached;
    const key = this.#derive(generation, Buffer.from(label));
    this.#sealingKeys.set(cacheKey, key);
    return key;
  }

  /**
   * The key of one pack; `packId` is its 20 bytes. Not cached: whoever reads or writes the pack keeps it.
   *
   * @throws {HoldfastError} `ObjectDamaged` if there is no such generation.
   */
  packKey(packId: Buffer, generation: number): KeyObject {
    assert.equal(packId.length, PACK_ID_BYTES);
    return this.#derive(generation, Buffer.concat([Buffer.from('pack/'), packId]));
  }

  #derive(generation: number, label: Buffer): KeyObject {
    const master = this.#masters.get(generation);
    if (master === undefined) {
      throw new HoldfastError('ObjectDamaged', `there is no key of generation ${generation}`, {
        details: { generation },
      });
    }
    const info = Buffer.concat([Buffer.from('holdfast/1/'), label]);
    return createSecretKey(
      Buffer.from(hkdfSync('sha256', master, this.repositoryId, info, KEY_BYTES)),
    );
  }
}

function exportKey(key: KeyObject): Uint8Array {
  return Uint8Array.from(key.export());
}

/** A zero byte would make two pairs of names one chain; a lone surrogate has no UTF-8 of its own. */
function nameBytes(name: string): Buffer {
  if (name === '' || name.includes('\0') || !name.isWellFormed()) {
    throw new HoldfastError('ArgumentInvalid', `not a name: ${JSON.stringify(name)}`);
  }
  return Buffer.from(name, 'utf8');
}
