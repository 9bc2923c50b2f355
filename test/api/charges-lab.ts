/** The API on a service whose days pass when a test says so, to see what is charged for them. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { FakeClock } from '#base';
import { readCharges } from '#service';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import type { ServiceSettings } from '../../src/service/service-settings.ts';
import type { TestService } from '../../src/service/testing/test-service.ts';
import { backupLab, VAULT } from './backup-lab.ts';

export const DAY_MS = 86_400_000;
/** What waits for a moment goes on. */
const TICK_MS = 10;

export const PRICES = {
  currency: 'EUR',
  instance: { small: 5, standard: 10 },
  storage: { vault: { LocallyRedundant: 1000 }, snapshot: { LocallyRedundant: 2000 } },
};

/** From the first of this month, 10:00 UTC: certificates are looked at by clients, whose time is real. */
export async function chargesLab(
  t: TestContext,
  fill: (made: TestService) => void,
  settings: Partial<ServiceSettings> = {},
) {
  const real = new Date();
  const clock = new FakeClock(Date.UTC(real.getUTCFullYear(), real.getUTCMonth(), 1, 10));
  const ticking = setInterval(() => clock.advance(TICK_MS), 5);
  t.after(() => clearInterval(ticking));
  // Days are read when a test says so, and no backup comes by itself.
  const quiet = { chargeLookMs: 1e12, expiryIntervalMs: 1e12, ...settings };
  const lab = await backupLab(t, fill, { clock, settings: quiet });
  const own = `${lab.group}/providers/Holdfast.Backup/vaults/${VAULT}`;
  const month = (): string => new Date(clock.nowMs()).toISOString().slice(0, 7);
  const get = async (path: string): Promise<AnyJson> => {
    const { status, body } = await lab.call('GET', `${own}/${path}`);
    assert.equal(status, 200, JSON.stringify(body));
    return body;
  };
  const filter = (of: string): string => `$filter=${encodeURIComponent(`month eq '${of}'`)}`;
  const nameOf = (vm: string): string => encodeURIComponent(lab.names(vm)[4]);
  const pause = async (vm: string): Promise<void> => {
    await lab.jobOf(await lab.put(vm, { protectionState: 'ProtectionStopped' }));
  };
  return {
    ...lab,
    clock,
    month,
    get,
    own,
    nameOf,
    pause,
    /** Protects the VM, backs it up and stops, so that nothing comes by itself while days pass. */
    backedUp: async (vm: string): Promise<void> => {
      await lab.protect(vm);
      assert.equal((await lab.ended(await lab.startBackup(vm))).status, 'Completed');
      await pause(vm);
    },
    /** Lets days pass, each read at its end. */
    pass: async (days: number): Promise<void> => {
      for (let day = 0; day < days; day += 1) {
        clock.advance(DAY_MS);
        await readCharges(lab.service);
      }
    },
    charges: async (vm: string, of = month()): Promise<AnyJson> =>
      (await get(`charges/${nameOf(vm)}?${filter(of)}`)).properties,
    list: async (of = month()): Promise<readonly AnyJson[]> =>
      (await get(`charges?${filter(of)}`)).value,
    summary: async (of = month()): Promise<AnyJson> => await get(`chargeSummary?${filter(of)}`),
    setPrices: async (from: string): Promise<void> => {
      const put = await lab.call('PUT', `${own}/priceSheets/${from}`, { properties: PRICES });
      assert.equal(put.status, 200, JSON.stringify(put.body));
    },
  };
}
