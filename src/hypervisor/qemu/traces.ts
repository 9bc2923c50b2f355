/**
 * Removes everything that a backup puts into QEMU but its bitmaps, whatever of it is there: after a backup,
 * after one that failed half-way, and what a killed one left. It looks at what QEMU has, not at what was
 * done, and can be repeated.
 *
 *     let the VM go on ─► exports, NBD server ─► jobs ─► access nodes ─► devices back onto their disks
 *                                                                  ─► filters ─► scratch nodes and files
 */
import { dirname } from 'node:path';
import { rm } from 'node:fs/promises';
import { HoldfastError, type Clock } from '#base';
import type { QmpClient } from '../qmp/qmp-client.ts';
import { readBlockLayer } from './block-layer.ts';
import { isOurs, OURS, STOPPED_MARK } from './names.ts';
import type { QemuProcess } from './qemu-process.ts';
import { isFolderAlive, removeDeadFolder } from './scratch-folder.ts';

const POLL_MS = 10;
const PATIENCE_MS = 30_000;

/** Whether QEMU's NBD server runs because of this backup, even if nothing in QEMU says so. */
export type NbdServerState = { isOurs: boolean };

type Context = {
  readonly qmp: QmpClient;
  readonly clock: Clock;
  readonly server?: NbdServerState;
  readonly process?: QemuProcess | undefined;
};

/**
 * @returns whether there was anything.
 * @throws {HoldfastError} `HypervisorFailed` with what QEMU refused to give up.
 */
export async function removeTraces(context: Context): Promise<boolean> {
  const { qmp } = context;
  const resumed = await resumeIfStopped(qmp);
  const served = await removeExports(context);
  const jobs = await removeJobs(context);
  const nodes = await removeNodes(qmp);
  return resumed || served || jobs || nodes;
}

/**
 * What a killed backup left.
 *
 * @throws {HoldfastError} `VmBusy` if it is not dead.
 */
export async function removeLeftovers(context: Context): Promise<boolean> {
  for (const folder of await scratchFolders(context)) {
    if (!(await isFolderAlive(folder))) continue;
    throw new HoldfastError('VmBusy', 'another Holdfast backs this VM up: wait until it has ended');
  }
  return await removeTraces(context);
}

async function scratchFolders({ qmp, process }: Context): Promise<ReadonlySet<string>> {
  const { nodes } = await readBlockLayer(qmp);
  const files = nodes.flatMap((node) =>
    node['node-name']?.startsWith(`${OURS}scratch`) === true ? [node.file] : [],
  );
  return new Set([...files, ...ourSockets(process)].map((path) => dirname(path)));
}

function ourSockets(process: QemuProcess | undefined): readonly string[] {
  return (process?.listensOn ?? []).filter(
    (path) => path.includes(`/${OURS}`) && path.endsWith('/nbd.sock'),
  );
}

async function resumeIfStopped(qmp: QmpClient): Promise<boolean> {
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  if (!nodes.some((node) => node['node-name'] === STOPPED_MARK)) return false;
  const { status } = await qmp.execute('query-status');
  if (status === 'paused') await qmp.execute('cont');
  await qmp.execute('blockdev-del', { 'node-name': STOPPED_MARK });
  return true;
}

async function removeExports({ qmp, clock, server, process }: Context): Promise<boolean> {
  const ours = async (): Promise<readonly string[]> =>
    (await qmp.execute('query-block-exports')).map(({ id }) => id).filter(isOurs);
  const exports = await ours();
  for (const id of exports) await qmp.execute('block-export-del', { id, mode: 'hard' });
  await untilNone(ours, { clock, what: 'exports' });
  const sockets = ourSockets(process);
  if (exports.length === 0 && sockets.length === 0 && server?.isOurs !== true) return false;
  if ((await qmp.execute('query-block-exports')).length === 0) await qmp.execute('nbd-server-stop');
  if (server !== undefined) server.isOurs = false;
  for (const socket of sockets) await rm(dirname(socket), { recursive: true, force: true });
  return true;
}

/** A job that filled its scratch has stopped the VM: without the job the guest's write goes through. */
async function removeJobs({ qmp, clock }: Context): Promise<boolean> {
  const ours = async (): Promise<readonly string[]> =>
    (await qmp.execute('query-jobs')).map(({ id }) => id).filter(isOurs);
  const jobs = await ours();
  if (jobs.length === 0) return false;
  for (const device of jobs) await qmp.execute('block-job-cancel', { device, force: true });
  await untilNone(ours, { clock, what: 'jobs' });
  const { status } = await qmp.execute('query-status');
  if (status === 'io-error') await qmp.execute('cont');
  return true;
}

async function removeNodes(qmp: QmpClient): Promise<boolean> {
  const { disks, nodes, childrenOf } = await readBlockLayer(qmp);
  const ours = nodes.flatMap((node) => {
    const name = node['node-name'] ?? '';
    return isOurs(name) ? [{ name, file: node.file }] : [];
  });
  const remove = async (kind: string): Promise<void> => {
    for (const { name } of ours.filter((node) => node.name.startsWith(`${OURS}${kind}-`))) {
      await qmp.execute('blockdev-del', { 'node-name': name });
    }
  };
  await remove('access');
  for (const { qomPath, rootNode } of disks.filter((disk) => isOurs(disk.rootNode))) {
    const below = childrenOf(rootNode).get('file');
    if (below === undefined) throw failed(`what lies below ${rootNode} is not known`);
    // QEMU 7.2 ends if a device is given the node that it has: only ever another one.
    await qmp.execute('qom-set', { path: qomPath, property: 'drive', value: below });
  }
  await remove('filter');
  await remove('scratch');
  for (const { name, file } of ours) {
    if (name.startsWith(`${OURS}scratch-`)) await removeDeadFolder(file);
  }
  return ours.length > 0;
}

async function untilNone(
  list: () => Promise<readonly string[]>,
  { clock, what }: { readonly clock: Clock; readonly what: string },
): Promise<void> {
  const deadline = clock.monotonicMs() + PATIENCE_MS;
  for (let left = await list(); left.length > 0; left = await list()) {
    if (clock.monotonicMs() > deadline) throw failed(`QEMU keeps its ${what} ${left.join(', ')}`);
    await clock.sleep(POLL_MS);
  }
}

function failed(message: string): HoldfastError {
  return new HoldfastError('HypervisorFailed', message);
}
