/** The contract of `Hypervisor`, on QEMU by its QMP socket, in both ways of holding the instant. */
import { hypervisorContract } from './hypervisor.contract.ts';
import { qemuSubject } from './qemu-subject.ts';

hypervisorContract('qemu', async (t) => await qemuSubject(t));
hypervisorContract('qemu by jobs', async (t) => await qemuSubject(t, { mechanism: 'job' }));
