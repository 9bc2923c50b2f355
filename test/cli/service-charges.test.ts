/** `holdfast charges`, on a service whose days pass on a clock of ours. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isHoldfastError } from '#base';
import { Terminal } from '../../src/cli/output/terminal.ts';
import { showCharges, type ChargesOptions } from '../../src/cli/service/charges.ts';
import { ServiceHttp } from '../../src/cli/service/service-http.ts';
import { Service } from '../../src/cli/service/service.ts';
import { addImages } from '../../src/service/testing/test-service.ts';
import { chargesLab, PRICES } from '../api/charges-lab.ts';

async function chargesCommand(t: TestContext) {
  const lab = await chargesLab(t, (made) => {
    for (const vm of ['web', 'db']) addImages(made, vm, [{ name: 'a', sizeBytes: 1 << 20 }]);
  });
  const { account } = lab;
  const address = {
    url: lab.url,
    authority: lab.ca.toString(),
    tenantId: 'adfs',
    foundBy: 'the test',
    secretFrom: 'the test',
    ...account,
  };
  const http = new ServiceHttp(address, () => lab.clock.nowMs());
  t.after(() => http.close());
  const run = async (isJson: boolean, name?: string, options: ChargesOptions = {}) => {
    let shown = '';
    const stdout = { write: (text: string) => void (shown += text) };
    const surroundings = {
      clock: lab.clock,
      stdout,
      stderr: { write: () => undefined, isTTY: false, columns: 80 },
    };
    const terminal = new Terminal(surroundings as never, { isJson });
    const service = new Service(http, lab.clock);
    await showCharges({ service, terminal } as never, name, options);
    return shown;
  };
  return {
    ...lab,
    text: async (name?: string, options?: ChargesOptions) => await run(false, name, options),
    json: async (name?: string, options?: ChargesOptions) =>
      JSON.parse(await run(true, name, options)),
  };
}

test('a vault shows its VMs with days, sizes and costs, a VM its points with what their end would save', async (t) => {
  const lab = await chargesCommand(t);
  assert.match(await lab.text(), /nothing is charged\.\nNo day has been read yet/);
  await lab.backedUp('web');
  await lab.backedUp('db');
  await lab.pass(3);
  assert.match(await lab.text(), /no prices: --prices FILE sets them/);
  const prices = join(lab.made.images, '..', 'prices.json');
  writeFileSync(prices, JSON.stringify(PRICES));
  const bad = join(lab.made.images, '..', 'bad.json');
  writeFileSync(bad, JSON.stringify({ ...PRICES, currency: 'usd', instance: { small: -1 } }));
  await assert.rejects(lab.text('v1', { prices: bad }), (error) => {
    assert.match(
      String(error),
      /bad\.json is no price sheet: currency: write three capital letters, as EUR; instance\.small: a price is not negative; instance/,
    );
    return isHoldfastError(error, 'PriceSheetInvalid');
  });
  await assert.rejects(
    lab.text('v1', { prices: `${bad}x` }),
    /--prices .*bad\.jsonx cannot be read: there is no such file$/,
  );
  await assert.rejects(lab.text('v1', { month: '2999-01' }), /--month 2999-01 is still to come/);
  const priced = await lab.text('v1', { prices });
  assert.match(priced, /^From \d{4}-\d\d on, lab\/v1 has these prices, in [A-Z]{3}\.\n\n/);
  assert.match(
    priced,
    /^lab\/web +3\/\d\d +1\.00 MiB +1\.0\d MiB +<0\.001 +EUR 0\.\d{4} +EUR 0\.\d{4} +EUR 0\.\d{4}$/m,
  );
  assert.match(
    priced,
    /^lab\/v1 in \d{4}-\d\d: 2 protected instances; EUR \d\.\d+: instances EUR/m,
  );
  assert.match(
    priced,
    /^At .*: 2\.\d\d MiB of recovery points; not charged: .* await compaction, .* overhead\.$/m,
  );
  const json = await lab.json('lab/v1');
  assert.deepEqual([json.vault, json.items.length, json.currency], ['lab/v1', 2, 'EUR']);
  const vm = await lab.text('web');
  assert.match(vm, /^Days charged: +3\/\d\d$/m);
  assert.match(
    vm,
    /^\d{15,18} +\d{4}-\d\d-\d\d .* EUR 0\.\d{4} +1\.0\d MiB +1\.0\d MiB +EUR (0\.9\d{3}|1\.\d\d)$/m,
  );
  const none = await lab.text('web', { month: '1999-01' });
  assert.match(none, /^lab\/web in 1999-01: nothing is charged/);
  assert.match(none, /^\d{15,18} .* - +- +1\.0\d MiB +1\.0\d MiB/m);
});

test('the forecast of a VM tells months and assumptions; of a vault it is wrong usage', async (t) => {
  const lab = await chargesCommand(t);
  await lab.backedUp('web');
  const early = await lab.text('web', { forecast: true });
  assert.match(early, /^No day has been read yet/m);
  assert.equal(early.match(/^\d{4}-\d\d +1 +1\.0\d MiB +-$/gm)!.length, 12, early);
  await lab.pass(1);
  const shown = await lab.text('web', { forecast: true });
  assert.equal(shown.match(/^\d{4}-\d\d +1 +1\.0\d MiB +-$/gm)!.length, 12, shown);
  assert.match(shown, /^No backups come/m);
  await assert.rejects(lab.text('v1', { forecast: true }), /--forecast is about one VM/);
  await assert.rejects(lab.text('web', { prices: 'x' }), /holdfast charges lab\/v1/);
  await assert.rejects(lab.text('none'), /there is no protected VM none/);
});
