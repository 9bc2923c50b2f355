/**
 * Measures the service's rules at its limits: a vault of 1 000 VMs with 100 recovery points each.
 *
 *     sh scripts/bench.sh --only rules
 *     node bench/rules.ts [--only charges,stored] [--work FOLDER] [--small]
 *
 * Prints Markdown; what it is doing goes to standard error. `--small` shows that all runs, no more.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { printNote, tell } from './measuring/tables.ts';
import { charges } from './rules/charges.ts';
import { stored } from './rules/stored.ts';
import { makeVault, type RulesPlace } from './rules/large-vault.ts';

const PARTS: Readonly<Record<string, (place: RulesPlace) => Promise<void>>> = { charges, stored };

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(PARTS).join(',') },
    work: { type: 'string', default: tmpdir() },
    small: { type: 'boolean', default: false },
  },
});

const unknown = values.only.split(',').filter((name) => PARTS[name] === undefined);
if (unknown.length > 0) {
  tell(`there is no part ${unknown.join(', ')}: ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
const folder = mkdtempSync(join(values.work, 'bench-rules-'));
try {
  const scale = values.small ? { vms: 10, points: 10 } : { vms: 1000, points: 100 };
  const place = await makeVault(folder, scale);
  printNote(
    `A vault of ${scale.vms} VMs with ${scale.points} recovery points each, and twelve months of their charges.` +
      (values.small ? ' **Small run: the figures mean nothing.**' : ''),
  );
  for (const name of values.only.split(',')) await PARTS[name]!(place);
  await place.catalogue.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
