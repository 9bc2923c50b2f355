/** Has a domain (argument: its UUID) stand still, says so, and waits to be killed or for the watchdog. */
import { realClock } from '#base';
import { whileStandingStill } from '../../src/hypervisor/libvirt/stand-still.ts';
import { virshOf } from '../../src/hypervisor/libvirt/virsh.ts';

const virsh = virshOf('qemu:///system', realClock());
await whileStandingStill({ virsh, uuid: process.argv[2] ?? '', vmName: 'test' }, async () => {
  process.stdout.write('still\n');
  await new Promise((resolve) => {
    setTimeout(resolve, 120_000);
  });
});
