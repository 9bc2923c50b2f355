/**
 * Measures the repository: whole commands beside restic, borg, qemu-img and virtnbdbackup, and what only Holdfast has.
 *
 *     sh scripts/bench.sh [--only compare,serve,…] [--work FOLDER] [--small]
 *
 * Needs some 25 GB in the work folder (default: the temporary one), which is emptied at the end.
 * Prints Markdown; what it is doing goes to standard error. `--small` shows that all runs, no more.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { age } from './parts/age.ts';
import { blockIndex } from './parts/block-index.ts';
import { compare } from './parts/compare.ts';
import { expiry } from './parts/expiry.ts';
import { limits } from './parts/limits.ts';
import { live } from './parts/live.ts';
import { rules } from './parts/rules.ts';
import { serve } from './parts/serve.ts';
import { sparse } from './parts/sparse.ts';
import { upkeep } from './parts/upkeep.ts';
import { cleanUpWhenInterrupted, undoneInTheEnd } from './measuring/clean-up.ts';
import { printNote, tell } from './measuring/tables.ts';
import { FULL, SMALL, type Workplace } from './measuring/workplace.ts';

const PARTS: Readonly<Record<string, (place: Workplace) => Promise<void>>> = {
  compare,
  serve,
  expiry,
  sparse,
  upkeep,
  limits,
  age,
  index: blockIndex,
  live,
  rules,
};

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(PARTS).join(',') },
    work: { type: 'string', default: tmpdir() },
    small: { type: 'boolean', default: false },
  },
});

/** A part that fails is said, and the others run. @returns how many failed. */
async function runParts(names: readonly string[], interrupted: AbortSignal): Promise<number> {
  const folder = mkdtempSync(join(values.work, 'bench-repository-'));
  const place = { folder, scale: values.small ? SMALL : FULL };
  const removeFolder = undoneInTheEnd(() => rmSync(folder, { recursive: true, force: true }));
  let failed = 0;
  try {
    printNote(`${machine()}.${values.small ? ' **Small run: the figures mean nothing.**' : ''}`);
    for (const name of names) {
      if (interrupted.aborted) break;
      try {
        await PARTS[name]!(place);
      } catch (error) {
        failed++;
        tell(`${name}: ${error instanceof Error ? error.stack : String(error)}`);
      }
    }
  } finally {
    await removeFolder();
  }
  return failed;
}

function machine(): string {
  const memoryGib = Math.round(totalmem() / 1024 ** 3);
  const osName = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  const model = cpus()[0]?.model ?? 'unknown processor';
  return `${availableParallelism()} cores (${model}), ${memoryGib} GiB of memory, ${osName}, Linux ${release()}, Node ${process.versions.node}`;
}

const names = values.only.split(',');
const unknown = names.filter((name) => PARTS[name] === undefined);
if (unknown.length > 0) {
  tell(`no part ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
  process.exitCode = 2;
} else {
  process.exitCode = (await runParts(names, cleanUpWhenInterrupted())) > 0 ? 1 : 0;
}
