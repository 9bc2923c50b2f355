/** Starts and ends the QEMU of a VM that we have defined; it runs by itself, and outlives us. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { HoldfastError, isHoldfastError, type Clock } from '#base';
import { runTool } from '#disk';
import { QmpClient } from '../../qmp/qmp-client.ts';
import type { DefinedVm } from './defined-vm.ts';

const POLL_MS = 50;
const QUIT_TIMEOUT_MS = 10_000;
const PATIENCE_MS = 30_000;

/** @throws {HoldfastError} `HypervisorFailed` with QEMU's own words; `ToolMissing`. */
export async function startQemu(defined: DefinedVm): Promise<void> {
  const { vm, commandLine, workingDirectory, tpm } = defined;
  const [command = '', ...args] = commandLine;
  if (tpm !== undefined) await startTpm(vm.name, tpm.args);
  const cwd =
    workingDirectory !== undefined && existsSync(workingDirectory) ? workingDirectory : '/';
  const result = await runTool({ command, args, cwd });
  if (!('complaint' in result)) return;
  await endTpm(defined);
  const complaint = result.complaint
    .split('\n')
    .filter((line) => line !== '')
    .join('; ');
  throw new HoldfastError(
    'HypervisorFailed',
    `QEMU did not start ${vm.name}: ${complaint}${advice(complaint)}`,
    {
      details: { vm: vm.name },
    },
  );
}

async function startTpm(name: string, args: readonly string[]): Promise<void> {
  const result = await runTool({ command: 'swtpm', args });
  if (!('complaint' in result)) return;
  throw new HoldfastError(
    'HypervisorFailed',
    `the TPM of ${name} did not start: ${result.complaint}`,
    {
      details: { vm: name },
    },
  );
}

function advice(complaint: string): string {
  return /kvm/i.test(complaint)
    ? '. Its command line asks for KVM, which this host does not give: load the module (kvm_intel, kvm_amd), ' +
        'see to the permissions of /dev/kvm, or restore the VM where there is KVM'
    : '';
}

/**
 * Whether a QEMU serves this socket, to us or to another program. Not while we are connected: a socket has room
 * for one that waits.
 */
export async function isListening(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => resolve(!nobodyListens(error)));
  });
}

/** Whether this is why a socket could not be connected to. */
export function nobodyListens(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOENT' || code === 'ECONNREFUSED';
}

/**
 * Cuts the power: QEMU ends, and writes what its images need. Idempotent.
 *
 * @param lent a connection that is there already, to this VM.
 * @throws {HoldfastError} `HypervisorFailed` if it does not end.
 */
export async function endQemu(
  defined: DefinedVm,
  { clock, lent }: { readonly clock: Clock; readonly lent?: QmpClient | undefined },
): Promise<void> {
  const { qmpPath, vm } = defined;
  if (lent?.isOpen !== true && !(await isListening(qmpPath))) return;
  const pid = await ownPid(defined);
  await askToQuit(qmpPath, { clock, lent });
  const deadline = clock.monotonicMs() + PATIENCE_MS;
  const isThere = async (): Promise<boolean> =>
    pid === undefined ? await isListening(qmpPath) : (await ownPid(defined)) === pid;
  for (let isKilled = false; await isThere(); await clock.sleep(POLL_MS)) {
    if (clock.monotonicMs() < deadline) continue;
    if (isKilled || pid === undefined) {
      throw new HoldfastError(
        'HypervisorFailed',
        `QEMU of ${vm.name} does not end: end it by hand`,
        {
          details: { vm: vm.name },
        },
      );
    }
    process.kill(pid, 'SIGKILL');
    isKilled = true;
  }
  await endTpm(defined);
}

async function askToQuit(
  path: string,
  { clock, lent }: { readonly clock: Clock; readonly lent?: QmpClient | undefined },
): Promise<void> {
  let qmp: QmpClient | undefined;
  try {
    qmp =
      lent?.isOpen === true
        ? lent
        : await QmpClient.connect({ path, clock, timeoutMs: QUIT_TIMEOUT_MS });
    await qmp.execute('quit');
    await qmp.closed;
  } catch (error) {
    // Another program has the socket, or QEMU ended before it answered: whoever called sees which.
    if (!isHoldfastError(error, 'HypervisorUnavailable')) throw error;
  } finally {
    if (qmp !== lent) await qmp?.close();
  }
}

async function ownPid({ pidPath }: DefinedVm): Promise<number | undefined> {
  return await pidIn(pidPath, pidPath);
}

/** swtpm ends with its connection; not if there never was one. */
async function endTpm({ tpm }: DefinedVm): Promise<void> {
  if (tpm === undefined) return;
  const pid = await pidIn(tpm.pidPath, `file=${tpm.pidPath}`);
  try {
    if (pid !== undefined) process.kill(pid, 'SIGTERM');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // It has just ended.
  }
}

/** Undefined: no process, or the number is another's by now, which has not this argument. */
async function pidIn(path: string, argument: string): Promise<number | undefined> {
  try {
    const pid = Number((await readFile(path, 'utf8')).trim());
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    return words.includes(argument) ? pid : undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
