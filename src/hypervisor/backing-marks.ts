/**
 * Bitmaps of ours in the files that a disk's image is based on: they were left there when somebody else took a snapshot
 * of the VM, or when a VM became a template. Backups count from bitmaps of the image that the VM writes, and from no other.
 */
import { markOf, type TrackingMark } from './vm-tracking.ts';

/** As QEMU tells of it. */
type BackingImage = {
  readonly filename: string;
  readonly 'format-specific'?:
    | { readonly data?: { readonly bitmaps?: readonly { readonly name: string }[] | undefined } }
    | undefined;
};

/** @param backings of one disk, the top image not among them. */
export function backingMarks(disk: string, backings: readonly BackingImage[]): TrackingMark[] {
  return backings.flatMap(({ filename, 'format-specific': specific }) =>
    (specific?.data?.bitmaps ?? []).flatMap(({ name }) => {
      const fault = `in "${filename}", which the image is based on: nothing counts there`;
      const mark = markOf(name, disk, fault);
      return mark === undefined ? [] : [{ ...mark, backingImage: filename }];
    }),
  );
}
