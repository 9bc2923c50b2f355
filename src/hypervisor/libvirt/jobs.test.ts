import assert from 'node:assert/strict';
import { access, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { HoldfastError, realClock } from '#base';
import type { Domain } from './domain.ts';
import { readDomain } from './domain-xml.ts';
import { claimDomain } from './jobs.ts';
import type { Virsh } from './virsh.ts';

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

function webDomain(): Domain {
  const facts = readDomain(
    `<domain type='qemu'><name>web</name><uuid>${UUID}</uuid><os><type arch='x86_64'>hvm</type></os><devices/></domain>`,
  );
  const { name, firmware, networkCards, hasAgentChannel } = facts;
  const vm = { name, state: 'paused' as const, disks: [], firmware, networkCards, hasAgentChannel };
  return { uuid: UUID, state: 'paused', facts, vm, unshowable: new Set() };
}

/** Claims a domain with the job of a backup whose process is dead. */
async function claim(
  t: TestContext,
  state: string,
  mode: 'pull' | 'push' = 'pull',
): Promise<{ readonly commands: readonly string[]; readonly warnings: readonly string[] }> {
  const parent = await mkdtemp(join(tmpdir(), 'jobs-'));
  t.after(async () => await rm(parent, { recursive: true, force: true }));
  const folder = join(parent, 'holdfast-dead');
  await mkdir(join(folder, 'qemu'), { recursive: true });
  const commands: string[] = [];
  const warnings: string[] = [];
  const answer = (command: string): string => {
    if (command === 'domstate') return `${state}\n\n`;
    if (command === 'domjobinfo') return 'Job type:         None\n';
    if (command !== 'backup-dumpxml') return '';
    if (!commands.includes('domjobabort') && mode === 'push') {
      return `<domainbackup mode='push'><disks><disk name='vda'><target file='${folder}/qemu/vda.qcow2'/></disk></disks></domainbackup>`;
    }
    if (!commands.includes('domjobabort')) {
      return `<domainbackup mode='pull'><server transport='unix' socket='${folder}/qemu/nbd'/><disks/></domainbackup>`;
    }
    throw new HoldfastError('HypervisorFailed', 'no domain backup job present');
  };
  const run = async ([command = '']: readonly string[]): Promise<string> => {
    commands.push(command);
    return await Promise.resolve(answer(command));
  };
  const virsh: Virsh = { uri: 'qemu:///system', run };
  const warn = (message: string): void => void warnings.push(message);
  await claimDomain({ virsh, clock: realClock(), warn }, webDomain());
  await assert.rejects(access(folder), { code: 'ENOENT' });
  return { commands, warnings };
}

test('a guest that a dead backup’s full scratch file system paused runs on once the job has ended', async (t) => {
  const { commands, warnings } = await claim(t, 'paused (I/O error)');
  assert.ok(commands.indexOf('resume') > commands.indexOf('domjobabort'));
  assert.equal(warnings.length, 2);
  assert.match(warnings[0]!, /ended the backup job of "web"/);
  assert.match(warnings[1]!, /^"web" was paused by an I\/O error.* was resumed$/);
});

test('a job in push mode whose backup is dead is ended too', async (t) => {
  const { commands, warnings } = await claim(t, 'running (booted)', 'push');
  assert.ok(commands.includes('domjobabort'));
  assert.match(warnings.join(), /ended the backup job of "web"/);
});

test('a guest that somebody paused stays paused', async (t) => {
  const { commands, warnings } = await claim(t, 'paused (user)');
  assert.ok(!commands.includes('resume'));
  assert.equal(warnings.length, 1);
});
