import assert from 'node:assert/strict';
import { test } from 'node:test';
import { realClock } from '#base';
import { libvirtCreation } from './creation.ts';
import { findDomain } from './domain.ts';
import type { Virsh } from './virsh.ts';

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const XML = `<domain type='qemu'><name>web</name><uuid>${UUID}</uuid><os><type arch='x86_64'>hvm</type></os><devices/></domain>`;

/** A libvirt with the domain `web`, and what was asked of it. */
function libvirtWith(
  state: string,
  managedSave: string,
): { readonly virsh: Virsh; readonly asked: (string | undefined)[] } {
  const asked: (string | undefined)[] = [];
  const answers: Readonly<Record<string, string>> = {
    list: `${UUID} web\n`,
    dumpxml: XML,
    domstate: `${state}\n\n`,
    domblkinfo: '',
    dominfo: `Name:           web\nManaged save:   ${managedSave}\nSecurity model: none\n`,
    define: '',
    capabilities: '<capabilities/>',
  };
  const run = async ([command]: readonly string[]): Promise<string> => {
    asked.push(command);
    return await Promise.resolve(answers[command!]!);
  };
  return { virsh: { uri: 'qemu:///system', run }, asked };
}

test('a domain that is off tells whether its memory is saved; one that runs is not asked', async () => {
  const saved = await findDomain(libvirtWith('shut off', 'yes').virsh, 'web');
  assert.deepEqual([saved.vm.state, saved.vm.hasSavedMemory], ['off', true]);
  const off = await findDomain(libvirtWith('shut off', 'no').virsh, 'web');
  assert.ok(!('hasSavedMemory' in off.vm));
  const running = libvirtWith('running', 'yes');
  assert.ok(!('hasSavedMemory' in (await findDomain(running.virsh, 'web')).vm));
  assert.ok(!running.asked.includes('dominfo'));
});

test('disks are not replaced under saved memory', async () => {
  const replace = async ({ virsh }: ReturnType<typeof libvirtWith>): Promise<void> =>
    await libvirtCreation({ virsh, clock: realClock(), tpmStateRoot: '/nowhere' }).replaceDisks(
      'web',
      [],
    );
  const saved = libvirtWith('shut off', 'yes');
  await assert.rejects(replace(saved), {
    code: 'VmNotShutDown',
    message: /start it and shut it down, or .*: virsh managedsave-remove web$/,
  });
  assert.ok(!saved.asked.includes('define'));
  const off = libvirtWith('shut off', 'no');
  await replace(off);
  assert.ok(off.asked.includes('define'));
});
