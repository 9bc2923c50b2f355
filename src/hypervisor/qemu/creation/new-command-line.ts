/** QEMU's command line turned into that of another VM, with other images. Every argument that is not named stays. */
import { HoldfastError } from '#base';
import type { Vm } from '../../vm.ts';
import type { DefineRequest } from '../../vm-creation.ts';
import { formatArguments, parseArguments, settingsOf, type Argument } from './arguments.ts';
import { useDisks } from './disk-images.ts';
import { spellOutDrives } from './drives.ts';
import { useTpm, useVariables } from './firmware.ts';
import { agentChardev, moveHostEnds, placeIn } from './host-ends.ts';
import { newUuid, useIdentity } from './identity.ts';
import { plugCards } from './network-cards.ts';

export type NewVmPlaces = {
  readonly qmpPath: string;
  /** Absent: in the request's folder. */
  readonly agentPath: string | undefined;
};

export type NewCommandLine = {
  /** The program first. */
  readonly words: readonly string[];
  readonly vm: Vm;
  readonly agentPath?: string;
  /** Where its UEFI variables must be. */
  readonly variablesPath?: string;
  /** Where its TPM must listen. */
  readonly tpmSocket?: string;
  readonly pidPath: string;
  /** Every path that is its own, the above among them: sockets, logs. */
  readonly files: readonly string[];
};

type Context = {
  readonly random: (byteCount: number) => Buffer;
  readonly warn: (message: string) => void;
};

/** @throws {HoldfastError} `DefinitionUnsupported`. */
export function newCommandLine(
  request: DefineRequest,
  { qmpPath, agentPath: wantedAgent }: NewVmPlaces,
  { random, warn }: Context,
): NewCommandLine {
  const { definition, name, identity, networks, directory, disks } = request;
  const [program, ...rest] = definition.commandLine ?? [];
  if (program === undefined)
    throw unsupported('it has no command line: its QEMU ran as another user');
  const files = new Set<string>();
  const place = (end: string): string => {
    const path = placeIn(directory, name)(end);
    files.add(path);
    return path;
  };
  const original = spellOutDrives(parseArguments(rest));
  refuseUnknown(original);
  const uuid = identity === 'new' ? newUuid(random) : undefined;
  const ends = { place, agentPath: wantedAgent, identity, warn };
  let parsed = useIdentity(moveHostEnds(original, ends), { name, uuid });
  parsed = useDisks(parsed, { all: definition.vm.disks, images: disks }, { program, warn });
  const plan = { cards: definition.vm.networkCards, networks, identity, random, warn };
  const plugged = plugCards(parsed, plan);
  const pidPath = place('qemu.pid');
  const hasVariables = useVariables(plugged.parsed, placeIn(directory, name)('VARS.fd'));
  const hasTpm = useTpm(plugged.parsed, placeIn(directory, name)('tpm.sock'));
  const hasAgent = agentChardev(plugged.parsed) !== undefined;
  const qmp = qmpPath.replaceAll(',', ',,');
  const ours: Argument[] = [
    { flag: 'qmp', value: `unix:${qmp},server=on,wait=off` },
    { flag: 'pidfile', value: pidPath },
    { flag: 'daemonize' },
  ];
  return {
    words: [program, ...formatArguments([...plugged.parsed, ...ours])],
    vm: {
      ...definition.vm,
      name,
      ...(uuid === undefined ? {} : { uuid }),
      state: 'off',
      disks: definition.vm.disks.flatMap((disk) => {
        const image = disks.find((one) => one.name === disk.name);
        if (image === undefined) return [];
        const { refusal: _, ...known } = disk;
        return [{ ...known, location: image.path, format: image.format }];
      }),
      networkCards: plugged.cards,
      hasAgentChannel: hasAgent,
    },
    ...(hasAgent ? { agentPath: wantedAgent ?? place('qga.sock') } : {}),
    ...(hasVariables ? { variablesPath: place('VARS.fd') } : {}),
    ...(hasTpm ? { tpmSocket: place('tpm.sock') } : {}),
    pidPath,
    files: [...files],
  };
}

/** What a command line takes from elsewhere, and cannot be known. */
function refuseUnknown(parsed: readonly Argument[]): void {
  for (const argument of parsed) {
    const { flag } = argument;
    if (flag === 'readconfig' || flag === 'writeconfig') {
      throw unsupported(`its command line is partly in a file (-${flag})`);
    }
    const settings = settingsOf(argument);
    const handed = ['fd', 'fds', 'vhostfd', 'vhostfds', 'fdset'].find((key) => settings.has(key));
    if (handed !== undefined || flag === 'add-fd') {
      throw unsupported(
        `the program that started it handed it open files (-${flag} ${handed ?? ''})`,
      );
    }
    if (settings.get('driver') === 'nvdimm')
      throw unsupported('it has an NVDIMM, which is no disk');
  }
}

function unsupported(reason: string): HoldfastError {
  return new HoldfastError(
    'DefinitionUnsupported',
    `the VM's command line cannot be used: ${reason}. Restore its disks, and start QEMU with them`,
  );
}
