/** A running VM for tests: QEMU and its disk are real, the guest is a model that speaks the agent's protocol. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { ScriptedAgent } from '../../src/hypervisor/agent/testing/scripted-agent.ts';
import { ModelGuest } from '../../src/hypervisor/consistency/testing/model-guest.ts';
import { guestFolder } from './tiny-guest.ts';

export type ModelVm = {
  readonly guest: ModelGuest;
  readonly agent: ScriptedAgent;
  /** Its own, which goes with the test. */
  readonly folder: string;
  readonly name: string;
  /** How it is reached. */
  readonly uri: string;
};

/** QEMU without an operating system: its state is running all the same. */
export async function startModelVm(
  t: TestContext,
  { family, name }: { readonly family: ModelGuest['family']; readonly name: string },
): Promise<ModelVm> {
  const folder = await guestFolder(t);
  const [disk, qmp] = [join(folder, 'disk.qcow2'), join(folder, 'qmp.sock')];
  await promisify(execFile)('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '64M']);
  await promisify(execFile)('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 1M 4M', disk]);
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      '-accel',
      'tcg',
      '-machine',
      'q35',
      '-m',
      '64',
      '-display',
      'none',
      '-nic',
      'none',
      '-name',
      name,
      '-qmp',
      `unix:${qmp},server=on,wait=off`,
      '-blockdev',
      `qcow2,node-name=d0,file.driver=file,file.filename=${disk}`,
      '-device',
      'virtio-blk-pci,drive=d0,id=vd0',
    ],
    { stdio: 'ignore' },
  );
  const agentPath = join(folder, 'qga.sock');
  const guest = new ModelGuest(family);
  const agent = await ScriptedAgent.start(agentPath, guest.script);
  t.after(async () => {
    await agent.stop();
    qemu.kill('SIGKILL');
    if (qemu.exitCode === null && qemu.signalCode === null) await once(qemu, 'exit');
  });
  while (!(await listens(qmp))) await sleep(20);
  return { guest, agent, folder, name, uri: `qmp:${qmp},agent=${agentPath}` };
}

/** The socket is there before QEMU listens. */
async function listens(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
