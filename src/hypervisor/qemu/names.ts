/**
 * Names of what a backup puts into QEMU. All begin with `holdfast-`, so that what a killed backup left is
 * known by its name; only one backup of a VM runs at a time, so they need nothing else. QEMU takes at most
 * 31 characters for a node.
 */

export const OURS = 'holdfast-';

export const isOurs = (name: string): boolean => name.startsWith(OURS);

export type DiskNames = {
  readonly scratch: string;
  /** What a bitmap counted that is audited. */
  readonly counted: string;
  readonly filter: string;
  readonly access: string;
  readonly export: string;
  /** Of what the filter saves. */
  readonly savedExport: string;
  readonly job: string;
};

/** The names for the disk at this place in the backup's list. */
export function namesOf(place: number): DiskNames {
  return {
    scratch: `${OURS}scratch-${place}`,
    counted: `${OURS}scratch-${place}-counted`,
    filter: `${OURS}filter-${place}`,
    access: `${OURS}access-${place}`,
    export: `${OURS}export-${place}`,
    savedExport: `${OURS}saved-${place}`,
    job: `${OURS}job-${place}`,
  };
}

/** A node that is there for as long as the VM stands still because of us: whoever finds it lets it go on. */
export const STOPPED_MARK = `${OURS}stopped`;

/** A node that is there from before QEMU's NBD server is started for us until after it was stopped. */
export const SERVING_MARK = `${OURS}serving`;

/** A bitmap that is made and removed at once, to see whether one can be made. */
export const PROBE_BITMAP = `${OURS}probe`;
