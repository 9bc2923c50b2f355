/**
 * What an image was when its bitmap began, so that a bitmap of another image is not used. Made from QEMU's
 * `ImageInfo`, which `qemu-img info` gives of an image that is off and `query-named-block-nodes` of one in a
 * running VM: the same image has the same fingerprint either way.
 *
 * Backing files count by the name in the header, not by the path that they were opened with: a host may open
 * the same image by another path. The image itself counts by its identity (image-identity.ts).
 */

/** The part of QEMU's `ImageInfo` that counts; `qemu-img info` gives it without `backing-image`, see below. */
export type QemuImageInfo = {
  readonly format: string;
  readonly 'virtual-size': number;
  readonly 'backing-filename'?: string;
  readonly 'backing-filename-format'?: string;
  /** The backing file's own, nested; offline the caller nests what it asked of each file of the chain. */
  readonly 'backing-image'?: QemuImageInfo;
  readonly snapshots?: readonly {
    readonly id: string;
    readonly name: string;
    readonly 'date-sec': number;
    readonly 'date-nsec': number;
  }[];
};

type Facts = {
  readonly image: string;
  readonly format: string;
  readonly sizeBytes: number;
  /** Names and formats along the chain, nearest first. */
  readonly backing: readonly (readonly [name: string, format: string])[];
  /** Internal snapshots of the top image. */
  readonly snapshots: readonly (readonly [id: string, name: string, time: string])[];
};

/**
 * Facts as compact JSON: equal for the same image, and a difference can be said in words.
 *
 * @param identity which image it is, as `imageIdentity` says.
 */
export function imageFingerprint(info: QemuImageInfo, identity: string): string {
  const backing: [string, string][] = [];
  let image: QemuImageInfo | undefined = info;
  while (image !== undefined) {
    const name = image['backing-filename'];
    const next: QemuImageInfo | undefined = image['backing-image'];
    if (name !== undefined) {
      backing.push([name, image['backing-filename-format'] ?? next?.format ?? '']);
    }
    image = next;
  }
  const snapshots = (info.snapshots ?? []).map(
    ({ id, name, 'date-sec': seconds, 'date-nsec': nanoseconds }) =>
      [id, name, `${seconds}.${String(nanoseconds).padStart(9, '0')}`] as const,
  );
  const facts: Facts = {
    image: identity,
    format: info.format,
    sizeBytes: info['virtual-size'],
    backing,
    snapshots,
  };
  return JSON.stringify(facts);
}

/**
 * What changed between two fingerprints, as the end of "its bitmap is not used: …".
 *
 * @returns undefined if they are equal.
 */
export function fingerprintDifference(then: string | undefined, now: string): string | undefined {
  if (then === now) return undefined;
  if (then === undefined) return 'it is not known what the image was when its bitmap began';
  const before = factsOf(then);
  const after = factsOf(now);
  if (before === undefined || after === undefined) return 'the image is another one';
  if (before.format !== after.format) {
    return `the image was ${before.format} and is ${after.format} now`;
  }
  if (before.sizeBytes !== after.sizeBytes) {
    return `the image was resized from ${before.sizeBytes} to ${after.sizeBytes} bytes`;
  }
  if (JSON.stringify(before.backing) !== JSON.stringify(after.backing)) {
    return 'the image has other backing files than before';
  }
  if (before.image !== after.image) {
    return 'the disk has another image than before: it was replaced, moved, or changed places with another';
  }
  return 'the internal snapshots of the image changed, and it may have been reverted to one';
}

function factsOf(fingerprint: string): Facts | undefined {
  try {
    const facts = JSON.parse(fingerprint) as Facts | null;
    return facts !== null && Array.isArray(facts.backing) ? facts : undefined;
  } catch {
    // Not of ours: then it is different, whatever it says.
    return undefined;
  }
}
