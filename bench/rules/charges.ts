/** What is charged for, from the catalogue: of the vault, of one VM, of its next twelve months. */
import { itemCharges, vaultCharges } from '../../src/service/charges/charges.ts';
import { forecastItem } from '../../src/service/charges/item-forecast.ts';
import { DEFAULT_SETTINGS } from '../../src/service/service-settings.ts';
import { median, printTable, tell } from '../measuring/tables.ts';
import { VAULT, type RulesPlace } from './large-vault.ts';

const RUNS = 5;

export async function charges({ catalogue, clock, months, vm, scale }: RulesPlace): Promise<void> {
  const { read } = catalogue;
  const month = months.at(-1)!;
  const settings = DEFAULT_SETTINGS;
  const work: Readonly<Record<string, (run: number) => Promise<unknown>>> = {
    'a month of the vault, by VM': async () => await vaultCharges(read, VAULT, month),
    'a year of the vault': async () => {
      for (const one of months) await vaultCharges(read, VAULT, one);
    },
    'a month of one VM': async (run) =>
      await itemCharges(read, { vault: VAULT, itemId: `item-${run % scale.vms}` }, month),
    'the forecast of one VM': async (run) =>
      await forecastItem({ catalogue, clock, settings }, { vault: VAULT, vm: vm(run % scale.vms) }),
  };
  const rows: string[][] = [];
  for (const [what, once] of Object.entries(work)) {
    const times: number[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      const start = performance.now();
      await once(run);
      times.push(performance.now() - start);
    }
    tell(`${what}: ${times.map((ms) => ms.toFixed(0)).join(', ')} ms`);
    rows.push([
      what,
      median(times).toFixed(1),
      `${Math.min(...times).toFixed(1)}–${Math.max(...times).toFixed(1)}`,
    ]);
  }
  printTable('Charges from the catalogue', ['what', 'ms', 'range'], rows);
}
