/** What the catalogue holds of a VM, as its host last told. */
import { z } from 'zod';
import type { Hypervisor } from '#backup';

const DISK = z.strictObject({
  name: z.string(),
  sizeBytes: z.number(),
  format: z.string(),
  location: z.string(),
  /** Undefined: the system disk, the first one. */
  lun: z.int().optional(),
  refusal: z.string().optional(),
});

const FACTS = z.strictObject({
  version: z.literal(1),
  uuid: z.string().optional(),
  state: z.enum(['running', 'paused', 'off']),
  disks: z.array(DISK),
  firmware: z.enum(['bios', 'uefi']),
  /** Undefined: its host does not tell. */
  cores: z.number().optional(),
  memoryBytes: z.number().optional(),
  networkCards: z.array(
    z.strictObject({
      mac: z.string(),
      model: z.string().optional(),
      network: z.string().optional(),
    }),
  ),
  hasAgentChannel: z.boolean(),
});

export type VmFacts = Readonly<Omit<z.infer<typeof FACTS>, 'version'>>;

type HypervisorVm = Awaited<ReturnType<Hypervisor['list']>>[number];

/** The first disk is the system's; the others have LUNs from 0, in their order. */
export function factsOf(vm: HypervisorVm): VmFacts {
  const { uuid, state, firmware, cores, memoryBytes, hasAgentChannel } = vm;
  return {
    ...(uuid === undefined ? {} : { uuid }),
    state,
    disks: vm.disks.map(({ name, sizeBytes, format, location, refusal }, index) => ({
      name,
      sizeBytes,
      format,
      location,
      ...(index === 0 ? {} : { lun: index - 1 }),
      ...(refusal === undefined ? {} : { refusal }),
    })),
    firmware,
    ...(cores === undefined ? {} : { cores }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    networkCards: vm.networkCards.map(({ mac, model, network }) => ({
      mac,
      ...(model === undefined ? {} : { model }),
      ...(network === undefined ? {} : { network }),
    })),
    hasAgentChannel,
  };
}

export function factsToJson(facts: VmFacts): string {
  return JSON.stringify({ version: 1, ...facts });
}

export function factsFromJson(json: string): VmFacts {
  const { version: _, ...facts } = FACTS.parse(JSON.parse(json));
  return facts;
}
