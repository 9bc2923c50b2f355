/** A VM as its QEMU describes it. */
import { basename, dirname } from 'node:path';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { NetworkCard, Vm } from '../vm.ts';
import { listDevices, readBlockLayer, readProperty, type QemuDisk } from './block-layer.ts';
import { settingsOf, valueAfter } from './command-line.ts';
import type { QemuProcess } from './qemu-process.ts';
import { powerStateOf } from './readiness.ts';

const NO_UUID = '00000000-0000-0000-0000-000000000000';
const UEFI_FILE = /(ovmf|aavmf|edk2|uefi)/i;

/** Which VM it is. */
export async function nameAndUuid(
  qmp: QmpClient,
  qmpPath: string,
): Promise<Pick<Vm, 'name' | 'uuid'>> {
  const [{ name }, { UUID: uuid }] = await Promise.all([
    qmp.execute('query-name'),
    qmp.execute('query-uuid'),
  ]);
  return {
    name: name ?? basename(dirname(qmpPath)),
    ...(uuid === NO_UUID ? {} : { uuid }),
  };
}

export async function describeVm(
  qmp: QmpClient,
  known: {
    readonly qmpPath: string;
    readonly process: QemuProcess | undefined;
    readonly hasAgentChannel: boolean;
  },
): Promise<Vm> {
  const commandLine = known.process?.commandLine ?? [];
  const [facts, state, { disks, flash }, networkCards, size] = await Promise.all([
    nameAndUuid(qmp, known.qmpPath),
    powerStateOf(qmp),
    readBlockLayer(qmp),
    networkCardsOf(qmp, commandLine),
    sizeOf(qmp),
  ]);
  const bios = valueAfter(commandLine, '-bios') ?? '';
  return {
    ...facts,
    state,
    disks: disks.map(toVmDisk),
    firmware: flash.size > 0 || UEFI_FILE.test(bios) ? 'uefi' : 'bios',
    ...size,
    networkCards,
    hasAgentChannel: known.hasAgentChannel,
  };
}

async function sizeOf(qmp: QmpClient): Promise<Required<Pick<Vm, 'cores' | 'memoryBytes'>>> {
  const [cpus, memory] = await Promise.all([
    qmp.execute('query-cpus-fast'),
    qmp.execute('query-memory-size-summary'),
  ]);
  const memoryBytes = memory['base-memory'] + (memory['plugged-memory'] ?? 0);
  return { cores: cpus.length, memoryBytes };
}

function toVmDisk({
  name,
  sizeBytes,
  format,
  location,
  serial,
  refusal,
}: QemuDisk): Vm['disks'][number] {
  return {
    name,
    sizeBytes,
    format,
    location,
    ...(serial === undefined ? {} : { serial }),
    ...(refusal === undefined ? {} : { refusal }),
  };
}

/** Every device with a MAC address. */
async function networkCardsOf(
  qmp: QmpClient,
  commandLine: readonly string[],
): Promise<readonly NetworkCard[]> {
  const cards = await Promise.all(
    (await listDevices(qmp)).map(async ({ path, type }): Promise<NetworkCard[]> => {
      const mac = await readProperty(qmp, path, 'mac');
      if (typeof mac !== 'string' || !mac.includes(':')) return [];
      const netdev = await readProperty(qmp, path, 'netdev');
      const network = networkOf(commandLine, String(netdev));
      return [{ mac, model: type, ...(network === undefined ? {} : { network }) }];
    }),
  );
  return cards.flat();
}

/** The bridge or interface of `-netdev …,id=NAME`; QEMU tells it nowhere else. */
function networkOf(commandLine: readonly string[], netdev: string): string | undefined {
  const settings = settingsOf(commandLine, '-netdev').find((each) => each.get('id') === netdev);
  return settings?.get('br') ?? settings?.get('ifname');
}
