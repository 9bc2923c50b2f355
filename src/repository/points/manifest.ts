/**
 * The manifest of a recovery point (docs/format.md §9): what a person wants to know of it, sealed. What
 * restoring needs stands in the log as well; the manifest's hash does too, so an older or foreign
 * one is seen.
 */
import { HoldfastError } from '#base';
import type { ObjectStore } from '#storage';
import type { KnownPoint } from '../history/state.ts';
import type { Keyring } from '../keys/keyring.ts';
import type { RandomBytes } from '../keys/random-bytes.ts';
import { maxSealedBytes, openJson, sealJson } from '../keys/sealed-object.ts';
import { sha256Hex } from '../keys/sha256.ts';
import type { LoggedDisk } from '../log/log-entry.ts';

type ManifestDisk = LoggedDisk & {
  /** Bytes read from the source. */
  readonly readBytes: number;
  /** Blocks that differ from the previous point × block size. */
  readonly changedBytes: number;
  /** Bytes of new frames' shares that this disk added (pages and footers: with the first disk). */
  readonly storedBytes: number;
};

export type Manifest = {
  readonly point: string;
  /** The item's name. */
  readonly item: string;
  readonly timeMs: number;
  readonly consistency: string;
  readonly blockSize: number;
  readonly disks: readonly ManifestDisk[];
  readonly seconds: number;
  /** What the caller keeps of the VM that the disks belong to: its definition, how it was tracked. JSON. */
  readonly vm?: unknown;
  /** Version of Holdfast that wrote it. */
  readonly holdfast: string;
};

type Access = { readonly store: ObjectStore; readonly keyring: Keyring };

export function manifestName(itemId: string, point: string): string {
  return `points/${itemId}/${point}`;
}

/** Writes the manifest. @returns the hex SHA-256 of its object, for the log. */
export async function writeManifest(
  access: Access & { readonly random: RandomBytes },
  manifest: Manifest,
): Promise<string> {
  const { store, keyring, random } = access;
  const name = manifestName(keyring.itemId(manifest.item), manifest.point);
  const bytes = sealJson({ keyring, kind: 'manifest', name, value: manifest, random });
  if ((await store.createIfAbsent(name, bytes)) === 'exists') {
    throw new HoldfastError('ObjectExists', `${name} is there already`, {
      details: { object: name },
    });
  }
  return sha256Hex(bytes);
}

/**
 * @throws {HoldfastError} `ObjectNotFound`, `ObjectDamaged` naming the object, also where it is not the
 *   one that the log means.
 */
export async function readManifest(access: Access, point: KnownPoint): Promise<Manifest> {
  const name = manifestName(point.item, point.point);
  const bytes = await access.store.read(name, { maxBytes: maxSealedBytes('manifest') });
  if (sha256Hex(bytes) !== point.manifestHash) {
    throw new HoldfastError('ObjectDamaged', `${name} is not what the log says`, {
      details: { object: name },
    });
  }
  return openJson({ keyring: access.keyring, kind: 'manifest', name, bytes }) as Manifest;
}
