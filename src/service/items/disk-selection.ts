/** Which disks of a VM are backed up (R73): by LUN, the system disk always with them. */
import { z } from 'zod';

const SELECTION = z.strictObject({ luns: z.array(z.int().min(0)), isInclusion: z.boolean() });

/** `isInclusion`: only these data disks; else all but these. */
export type DiskSelection = Readonly<z.infer<typeof SELECTION>>;

export function diskSelectionFromJson(json: string): DiskSelection {
  return SELECTION.parse(JSON.parse(json));
}

/** @param lun undefined: the system disk. */
export function isSelected(selection: DiskSelection | undefined, lun: number | undefined): boolean {
  if (selection === undefined || lun === undefined) return true;
  return selection.luns.includes(lun) === selection.isInclusion;
}
