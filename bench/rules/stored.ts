/** What asks or changes the repository too: a preview, an Expire job, the daily reading of what is stored. */
import { readFileSync, writeFileSync } from 'node:fs';
import { readCharges } from '../../src/service/charges/read-charges.ts';
import { startExpiry } from '../../src/service/expiring/start-expiry.ts';
import { putPolicy } from '../../src/service/policies/policies.ts';
import { previewPolicyEdit, type Preview } from '../../src/service/previews/preview.ts';
import { median, printNote, printTable, tell } from '../measuring/tables.ts';
import type { RulesPlace } from './large-vault.ts';
import {
  endOfJob,
  FEW,
  keptFor,
  makeStoredVault,
  MANY,
  STORED_VAULT,
  writeDocuments,
  type StoredVault,
} from './stored-vault.ts';

const RUNS = 5;
const KIB = 1024;
const DAY_MS = 86_400_000;

type Row = readonly [what: string, points: number, ...figures: readonly string[]];

export async function stored({ folder, scale }: RulesPlace): Promise<void> {
  const vault = await makeStoredVault(folder, scale);
  try {
    await writeDocuments(vault);
    const rows = [
      ...(await previews(vault)),
      ...(await readings(vault)),
      ...(await expiries(vault)),
    ];
    printNote(
      `A vault of ${scale.vms} VMs with ${scale.points} recovery points each in a repository; a VM has 16 blocks, each ` +
        'backup changes two. The points are made by the repository’s own sessions, whose packs a thousand points share, ' +
        'as compaction leaves them; documents and catalogue have them as jobs would have left them. Memory is by how ' +
        'much the resident memory of the service rose at its peak.',
    );
    printTable(
      'Rules that ask the repository',
      ['what', 'points', 'ms (range)', 'µs a point', 'memory MiB', 'result'],
      rows.map((row) => row.map(String)),
    );
  } finally {
    await vault.close();
  }
}

async function previews({ service, scale }: StoredVault): Promise<readonly Row[]> {
  const name = { vault: STORED_VAULT, name: MANY };
  const draft = keptFor(Math.ceil(scale.points * 0.9));
  const { times, risenMib, last } = await measured('preview', RUNS, async () => {
    return await previewPolicyEdit(service, name, draft);
  });
  const points = last.items.reduce((sum, item) => sum + item.points.length, 0);
  return [row(`preview of a policy’s change`, points, { times, risenMib, result: told(last) })];
}

function told({ items, freedBytes }: Preview): string {
  const all = items.flatMap(({ points }) => points);
  const going = all.filter(({ fate }) => fate === 'removed').length;
  return `${going} go, ${Math.round(freedBytes / KIB)} KiB freed`;
}

async function readings(vault: StoredVault): Promise<readonly Row[]> {
  const { service, clock, scale } = vault;
  const points = scale.vms * scale.points;
  // The days before are those of the first reading; then a backup of each VM a day.
  clock.jump(DAY_MS);
  await readCharges(service);
  const times: number[] = [];
  let risenMib = 0;
  for (let run = 0; run < 3; run += 1) {
    await vault.backUpAll();
    clock.jump(DAY_MS);
    const one = await measured('reading', 1, async () => await readCharges(service));
    times.push(...one.times);
    risenMib = Math.max(risenMib, one.risenMib);
  }
  return [row('daily reading of what is stored', points, { times, risenMib, result: '' })];
}

async function expiries(vault: StoredVault): Promise<readonly Row[]> {
  const { service, vaultId, scale, clock } = vault;
  const name = { vault: STORED_VAULT, name: FEW };
  const rows: Row[] = [];
  const { read } = service.catalogue;
  const counted = async (): Promise<number> => {
    const { fn } = read;
    const query = read.selectFrom('points').select(fn.countAll<number>().as('count'));
    return Number((await query.executeTakeFirstOrThrow()).count);
  };
  // Days that nobody has read are another row's.
  await readCharges(service);
  const newestAt = clock.nowMs();
  for (const part of [0.9, 0.8, 0.7]) {
    const keptDays =
      Math.ceil((newestAt - vault.firstAt) / DAY_MS) - Math.round(scale.points * (1 - part));
    await putPolicy(service, name, { draft: keptFor(keptDays) });
    const before = await counted();
    const { times, risenMib, last } = await measured('expiry', 1, async () => {
      const { jobId } = await startExpiry(service, STORED_VAULT, undefined);
      return await endOfJob(service, { vaultId, jobId });
    });
    const properties = last.properties as Readonly<Record<string, string>>;
    const result = `${properties['Blocks merged']} blocks merged, ${properties['Blocks deleted']} deleted`;
    rows.push(
      row(`Expire job, ${scale.vms / 10} VMs`, before - (await counted()), {
        times,
        risenMib,
        result,
      }),
    );
  }
  return rows;
}

function row(
  what: string,
  points: number,
  of: { readonly times: readonly number[]; readonly risenMib: number; readonly result: string },
): Row {
  const { times, risenMib, result } = of;
  const ms = median(times);
  const range =
    times.length > 1 ? ` (${Math.min(...times).toFixed(0)}–${Math.max(...times).toFixed(0)})` : '';
  const each = ((1000 * ms) / points).toFixed(1);
  return [what, points, `${ms.toFixed(0)}${range}`, each, risenMib.toFixed(0), result];
}

async function measured<Result>(what: string, runs: number, work: () => Promise<Result>) {
  const times: number[] = [];
  let [risenMib, last]: [number, Result | undefined] = [0, undefined];
  for (let run = 0; run < runs; run += 1) {
    writeFileSync('/proc/self/clear_refs', '5'); // The peak is counted anew.
    const before = peakKib();
    const start = performance.now();
    last = await work();
    times.push(performance.now() - start);
    risenMib = Math.max(risenMib, (peakKib() - before) / KIB);
  }
  tell(`${what}: ${times.map((ms) => ms.toFixed(0)).join(', ')} ms, ${risenMib.toFixed(0)} MiB`);
  return { times, risenMib, last: last as Result };
}

function peakKib(): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
}
