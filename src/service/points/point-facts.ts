/** What the catalogue holds of a recovery point beside its dates: copied from its manifest, never the truth. */
import { z } from 'zod';
import type { VmPointDescription } from '#backup';

const PLACED = { name: z.string(), /** Absent: the system disk. */ lun: z.int().optional() };

const FACTS = z.strictObject({
  version: z.literal(1),
  vmState: z.string(),
  /** What the guest's agent said; absent: nobody knows. */
  osFamily: z.enum(['linux', 'windows']).optional(),
  /** Absent: neither a TPM with secure boot, nor known. */
  isTrustedLaunch: z.literal(true).optional(),
  /** Bytes. */
  disks: z.array(
    z.strictObject({
      ...PLACED,
      sizeBytes: z.number(),
      changedBytes: z.number(),
      storedBytes: z.number(),
    }),
  ),
  /** The points that were taken at the same instant, this one with them; absent: it was taken alone. */
  group: z
    .strictObject({
      /** Of the consistency group, or of this set where there was none. */
      id: z.string(),
      /** Items as the repository names them. */
      points: z.array(z.strictObject({ item: z.string(), point: z.string() })),
    })
    .optional(),
  /** Disks that the VM had and that were not backed up. */
  excluded: z.array(z.strictObject(PLACED)),
});

export type PointFacts = Readonly<Omit<z.infer<typeof FACTS>, 'version'>>;

/** How a point came to be: it decides what its expiry follows (R20, R68). */
export const POINT_ORIGINS = ['scheduled', 'on-demand', 'safety'] as const;
export type PointOrigin = (typeof POINT_ORIGINS)[number];

export function pointFactsOf({ vm, disks, lacking, group }: VmPointDescription): PointFacts {
  return {
    ...(group === undefined ? {} : { group: { id: group.id, points: [...group.points] } }),
    vmState: vm.state,
    ...(vm.osFamily === undefined ? {} : { osFamily: vm.osFamily }),
    ...(vm.bootSecurity.hasSecureBoot && vm.bootSecurity.hasTpm
      ? { isTrustedLaunch: true as const }
      : {}),
    disks: disks.map(({ place, ...disk }) => ({ ...disk, ...lunOf(place) })),
    excluded: lacking.map(({ name, place }) => ({ name, ...lunOf(place) })),
  };
}

/** The first disk is the system's. */
function lunOf(place: number): { readonly lun?: number } {
  return place === 0 ? {} : { lun: place - 1 };
}

export function pointFactsToJson(facts: PointFacts): string {
  return JSON.stringify({ version: 1, ...facts });
}

export function pointFactsFromJson(json: string): PointFacts {
  const { version: _, ...facts } = FACTS.parse(JSON.parse(json));
  return facts;
}
