import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { discoverHost } from '../hosts/discovery.ts';
import { DAILY, policyOf } from '../retention/test-policies.ts';
import { agedVm } from '../testing/aged-vm.ts';
import { GROUP } from '../testing/test-service.ts';

test('R18 a tagged day that failed before the first backup is made up for, also where that was on demand', async (t) => {
  const vm = await agedVm(t, { policy: policyOf(DAILY, { days: 30, weeks: 12 }) });
  const folder = join(vm.made.images, 'web');
  renameSync(folder, `${folder}-away`);
  // The 4th of January 2026 is a Sunday.
  while (new Date(vm.clock.nowMs()).getUTCDate() < 4) await vm.nextScheduled();
  renameSync(`${folder}-away`, folder);
  await discoverHost(vm.service, GROUP);
  await vm.backUp();
  await vm.nextScheduled();
  const tags = (await vm.points()).map(({ plan }) => plan.tags.map((tag) => tag.class));
  assert.deepEqual(tags, [[], ['daily', 'weekly']]);
});
