/**
 * Azure's job errors and health details have a number beside their code. Where Azure's own is known it is used;
 * every other code has one that is made of its name, the same at every time and on every machine.
 */

/** From Azure's documents (R52, R55). */
const AZURE: Readonly<Record<string, number>> = {
  AzureVmOffline: 380_008,
  IaasVmHealthGreenDefault: 400_239,
  ResourceNotFound: 320_001,
  UserErrorVmNotFoundV2: 400_094,
};

/** Ours are above all of Azure's. */
const FIRST = 1_000_000;
const COUNT = 1_000_000_000;

export function errorNumber(code: string): number {
  return AZURE[code] ?? FIRST + (hash(code) % COUNT);
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}

const RECOMMENDATIONS: Readonly<Record<string, string>> = {
  Cancelled: 'Start the job again when it is wanted.',
  CopyingVHDsFromBackUpVaultTakingLongTime:
    'Find out what made it slow: the disks of the VM, the storage of the vault, or too many jobs at once.',
  DiskInUse: 'Connect the host through QMP or libvirt, or shut the VM down.',
  ExtensionFailedTimeoutGuestBusy:
    'Back the VM up at a time when its guest has less to do, give it more CPUs or memory, or raise the limit.',
  HypervisorUnavailable: 'See whether the host runs, and whether Holdfast may connect to it.',
  JobInterrupted: 'Read the log of the service for what ended it.',
  StoreFull: 'Make room where the message says, then start the job again.',
  UserErrorFsFreezeFailed: 'See in the guest which file system could not be frozen, and mend it.',
  UserErrorProtectionStopped: 'Resume the protection of the VM.',
  UserErrorVmNotFoundV2:
    'Restore the VM under its name in its resource group, or stop its protection.',
  UserErrorVmNotShutDown: 'Shut the VM down, and start the restore again.',
  VmNotFound: 'Restore the VM under its name in its resource group, or stop its protection.',
};

export function recommendationsFor(code: string): readonly string[] {
  return [RECOMMENDATIONS[code] ?? `Look the code ${code} up in Holdfast's table of errors.`];
}
