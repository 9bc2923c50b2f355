/**
 * Removes everything that a backup puts into QEMU but its bitmaps, whatever of it is there: after a backup,
 * after one that failed half-way, and what a killed one left. It looks at what QEMU has, not at what was
 * done, and can be repeated.
 *
 *     let the VM go on ─► exports, NBD server ─► jobs ─► access nodes ─► devices back onto their disks
 *                                                                  ─► filters ─► scratch nodes and files
 */
import { dirname } from 'node:path';
import { HoldfastError, isHoldfastError, type Clock } from '#base';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { QmpJob } from '../qmp/qmp-commands.ts';
import { readBlockLayer } from './block-layer.ts';
import { isOurs, OURS, SERVING_MARK, STOPPED_MARK } from './names.ts';
import { isFolderAlive, removeDeadFolder } from './scratch-folder.ts';
import { isMoveJob } from './stream-jobs.ts';

const POLL_MS = 10;
const PATIENCE_MS = 30_000;

type Context = {
  readonly qmp: QmpClient;
  readonly clock: Clock;
};

/**
 * @returns whether there was anything.
 * @throws {HoldfastError} `HypervisorFailed` with what QEMU refused to give up.
 */
export async function removeTraces(context: Context): Promise<boolean> {
  const { qmp } = context;
  const resumed = await resumeIfStopped(qmp);
  const served = await removeExports(context);
  const jobs = await endJobs(context);
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

async function scratchFolders({ qmp }: Context): Promise<ReadonlySet<string>> {
  const { nodes } = await readBlockLayer(qmp);
  const files = nodes.flatMap((node) =>
    node['node-name']?.startsWith(`${OURS}scratch`) === true ? [node.file] : [],
  );
  return new Set(files.map((path) => dirname(path)));
}

/** Lets a VM go on that stands still because of us; one that its owner had paused was not stopped. */
export async function resumeIfStopped(qmp: QmpClient): Promise<boolean> {
  if (!(await hasNode(qmp, STOPPED_MARK))) return false;
  const { status } = await qmp.execute('query-status');
  if (status === 'paused') await qmp.execute('cont');
  await qmp.execute('blockdev-del', { 'node-name': STOPPED_MARK });
  return true;
}

async function removeExports({ qmp, clock }: Context): Promise<boolean> {
  const ours = async (): Promise<readonly string[]> =>
    (await qmp.execute('query-block-exports')).map(({ id }) => id).filter(isOurs);
  const exports = await ours();
  for (const id of exports) await qmp.execute('block-export-del', { id, mode: 'hard' });
  await untilNone(ours, { clock, what: 'exports' });
  if (!(await hasNode(qmp, SERVING_MARK))) return exports.length > 0;
  if ((await qmp.execute('query-block-exports')).length === 0) await stopServer(qmp);
  await qmp.execute('blockdev-del', { 'node-name': SERVING_MARK });
  return true;
}

/** It may not have come to its start. */
async function stopServer(qmp: QmpClient): Promise<void> {
  try {
    await qmp.execute('nbd-server-stop');
  } catch (error) {
    const text = isHoldfastError(error, 'HypervisorFailed') ? String(error.details['text']) : '';
    if (!text.includes('not running')) throw error;
  }
}

async function hasNode(qmp: QmpClient, name: string): Promise<boolean> {
  const { nodes } = await qmp.execute('x-debug-query-block-graph');
  return nodes.some((node) => node.name === name);
}

/**
 * Cancels our jobs that run, but none that moves a booted VM's disk, and dismisses those that have ended. A job that filled its scratch has stopped the
 * VM: without the job the guest's write goes through.
 *
 * @returns whether there was any.
 */
export async function endJobs({ qmp, clock }: Context): Promise<boolean> {
  const ours = async (): Promise<readonly QmpJob[]> =>
    (await qmp.execute('query-jobs')).filter(
      (job) => isOurs(job.id) && !(isMoveJob(job) && job.status !== 'concluded'),
    );
  const jobs = await ours();
  if (jobs.length === 0) return false;
  for (const { id, status } of jobs) if (status !== 'concluded') await cancel(qmp, id);
  const left = async (): Promise<readonly string[]> => {
    const ended = (await ours()).filter(({ status }) => status === 'concluded');
    for (const { id } of ended) await qmp.execute('job-dismiss', { id });
    return (await ours()).map(({ id }) => id);
  };
  await untilNone(left, { clock, what: 'jobs' });
  const { status } = await qmp.execute('query-status');
  if (status === 'io-error') await qmp.execute('cont');
  return true;
}

async function cancel(qmp: QmpClient, id: string): Promise<void> {
  try {
    await qmp.execute('block-job-cancel', { device: id, force: true });
  } catch (error) {
    const job = (await qmp.execute('query-jobs')).find((known) => known.id === id);
    // It may just have ended by itself.
    if (job !== undefined && job.status !== 'concluded') throw error;
  }
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
