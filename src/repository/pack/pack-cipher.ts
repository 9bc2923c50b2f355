/**
 * Seals and opens the parts of one pack: AES-256-GCM under a key of its own (invariants 7 and 8).
 *
 * The nonce is the frame's number, the footer's all ones; a pack seals each number once, so the pack
 * writer never seals a frame again. The header and the repository's id are associated data: a part
 * moved to another place, pack or repository does not open.
 */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { freeMemory } from '#base';
import {
  TAG_BYTES,
  encodeHeader,
  packDamaged,
  type PackHeader,
  type PackKeys,
} from './pack-layout.ts';
import { packName } from './pack-id.ts';

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const FOOTER_NONCE = Buffer.alloc(NONCE_BYTES, 0xff);
const FOOTER_LABEL = Buffer.from('footer');

type Place = { readonly nonce: Buffer; readonly associated: Buffer };

export class PackCipher {
  readonly #key: KeyObject;
  readonly #associated: Buffer;
  readonly #name: string;

  /** @throws {HoldfastError} `ObjectDamaged` if the header names a key generation that is unknown. */
  constructor(keys: PackKeys, header: PackHeader) {
    this.#name = packName(header.packId);
    this.#associated = Buffer.concat([encodeHeader(header), keys.repositoryId]);
    try {
      this.#key = keys.packKey(header.packId, header.generation);
    } catch (cause) {
      const what = `no key of generation ${header.generation}`;
      throw packDamaged(this.#name, what, { cause });
    }
  }

  /** @returns ciphertext and tag. Call it once for a frame number. */
  sealFrame(frame: number, bytes: Buffer): Buffer {
    return this.#seal(this.#framePlace(frame), bytes);
  }

  sealFooter(bytes: Buffer): Buffer {
    return this.#seal(this.#footerPlace(), bytes);
  }

  /** @throws {HoldfastError} `ObjectDamaged` unless these are the bytes sealed as this frame. */
  openFrame(frame: number, sealed: Buffer): Buffer {
    const opened = this.#open(this.#framePlace(frame), sealed);
    if (opened !== undefined) return opened;
    throw packDamaged(this.#name, 'its bytes fail authentication', { frame });
  }

  /** @throws {HoldfastError} `ObjectDamaged` unless these are the bytes sealed as the footer. */
  openFooter(sealed: Buffer): Buffer {
    const opened = this.#open(this.#footerPlace(), sealed);
    if (opened !== undefined) return opened;
    throw packDamaged(this.#name, 'its footer fails authentication');
  }

  #framePlace(frame: number): Place {
    const nonce = Buffer.alloc(NONCE_BYTES);
    nonce.writeUInt32BE(frame, NONCE_BYTES - 4);
    return { nonce, associated: this.#associated };
  }

  #footerPlace(): Place {
    return { nonce: FOOTER_NONCE, associated: Buffer.concat([this.#associated, FOOTER_LABEL]) };
  }

  #seal({ nonce, associated }: Place, bytes: Buffer): Buffer {
    const cipher = createCipheriv(ALGORITHM, this.#key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(associated);
    const encrypted = cipher.update(bytes);
    const sealed = Buffer.concat([encrypted, cipher.final(), cipher.getAuthTag()]);
    freeMemory(encrypted);
    return sealed;
  }

  #open({ nonce, associated }: Place, sealed: Buffer): Buffer | undefined {
    if (sealed.length < TAG_BYTES) return undefined;
    const decipher = createDecipheriv(ALGORITHM, this.#key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(associated);
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    const bytes = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
    try {
      decipher.final();
    } catch {
      return undefined; // The only failure of final() here is a tag that does not match.
    }
    return bytes;
  }
}
