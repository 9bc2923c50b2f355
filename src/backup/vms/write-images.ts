/** Writes disks of a point to the images that a VM will use. */
import type { NewVmDisk } from '#hypervisor';
import {
  restoreDisks,
  type RestoreRequest,
  type RestoreResult,
} from '../restoring/restore-disks.ts';

export type WrittenImages = Omit<RestoreResult, 'disks'> & {
  readonly disks: readonly (RestoreResult['disks'][number] & {
    readonly path: string;
    readonly format: string;
  })[];
};

export type ImageWriting = Pick<
  RestoreRequest,
  'repository' | 'point' | 'clock' | 'signal' | 'onProgress' | 'threads'
>;

/** As `restoreDisks`; the result says where each disk went. */
export async function writeImages(
  writing: ImageWriting,
  images: readonly NewVmDisk[],
  { overwrite }: { readonly overwrite: boolean },
): Promise<WrittenImages> {
  const { repository, point, clock, signal, onProgress, threads } = writing;
  const result = await restoreDisks({
    repository,
    point,
    disks: images.map(({ name, path, format }) => ({ name, path, format })),
    overwrite,
    clock,
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(threads === undefined ? {} : { threads }),
  });
  return {
    ...result,
    disks: result.disks.map((disk, at) => {
      const { path, format } = images[at]!;
      return { ...disk, path, format };
    }),
  };
}
