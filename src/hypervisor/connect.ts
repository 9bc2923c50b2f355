/** From `--connect` to a hypervisor: which of ours an address means. */
import { isAbsolute, resolve } from 'node:path';
import { HoldfastError, orCancelled, throwIfCancelled, type Clock } from '#base';
import type { Hypervisor } from './hypervisor.ts';

export type ConnectOptions = {
  readonly clock: Clock;
  readonly random: (byteCount: number) => Buffer;
  readonly signal?: AbortSignal;
};

const KNOWN =
  'use qemu:///system or qemu:///session (libvirt on this machine), qmp:/path/qmp.sock[,agent=/path/qga.sock] (one QEMU), or images:/folder (disk images of VMs that do not run); all paths absolute';

/**
 * Connects to what `uri` names. The caller closes.
 *
 * @throws {HoldfastError} `ArgumentInvalid` if it names nothing that we know, or another machine;
 *   `HypervisorUnavailable`, `ToolMissing`, `Cancelled`.
 */
export async function connectHypervisor(uri: string, options: ConnectOptions): Promise<Hypervisor> {
  const { signal } = options;
  throwIfCancelled(signal);
  const connecting = connect(uri, options);
  try {
    // A socket that another program has, or a daemon that hangs, answers late or never.
    return await orCancelled(connecting, signal);
  } catch (error) {
    connecting.then(
      async (late) => await late.close(),
      () => {}, // It was the error, or nobody waits for it any more.
    );
    throw error;
  }
}

async function connect(
  uri: string,
  { clock, random }: Pick<ConnectOptions, 'clock' | 'random'>,
): Promise<Hypervisor> {
  const [, scheme, rest] = /^([a-z0-9+]+):(.*)$/s.exec(uri) ?? [];
  // Each brings libraries of its own, and a command needs one of them.
  switch (scheme) {
    case 'qemu':
    case 'qemu+unix':
      if (!rest!.startsWith('///')) throw remote(uri);
      return await (await import('./libvirt/connect-libvirt.ts')).connectLibvirt({ uri, clock });
    case 'qmp':
      return await (await import('./qemu/connect-qemu.ts')).connectQemu({ uri, clock, random });
    case 'images':
      if (!isAbsolute(rest!)) break;
      return await (
        await import('./images/connect-images.ts')
      ).connectImages({ folder: resolve(rest!), clock });
    case undefined:
      break;
    default:
      if (/^qemu\+|^(tcp|tls|ssh)$/.test(scheme)) throw remote(uri);
  }
  throw new HoldfastError('ArgumentInvalid', `"${uri}" names no hypervisor: ${KNOWN}`);
}

function remote(uri: string): HoldfastError {
  return new HoldfastError(
    'ArgumentInvalid',
    `"${uri}" is on another machine, which is not supported yet: run Holdfast there, and ${KNOWN}`,
  );
}
