/**
 * Names of our dirty bitmaps, and of libvirt's checkpoints: `holdfast-<repository>-<point>`, so that a bitmap
 * says by itself from which recovery point it counts (DESIGN §4).
 */

export type BitmapName = { readonly repositoryId: string; readonly point: string };

const NAME = /^holdfast-([0-9a-f]{32})-([0-9]{15,18})$/;

export function formatBitmapName({ repositoryId, point }: BitmapName): string {
  return `holdfast-${repositoryId}-${point}`;
}

/** Undefined: it is not one of ours. */
export function parseBitmapName(name: string): BitmapName | undefined {
  const [, repositoryId, point] = NAME.exec(name) ?? [];
  return repositoryId === undefined || point === undefined ? undefined : { repositoryId, point };
}
