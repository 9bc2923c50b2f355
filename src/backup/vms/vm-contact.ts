/**
 * The first contact with a VM and its guest, which changes nothing in either: it may begin while the repository is
 * still being opened, and a wrong password has then touched nobody.
 */
import { toldElsewhere, type Clock } from '#base';
import { contactGuest, type GuestContact, type Hypervisor, type Vm } from '#hypervisor';
import { refuseUnmoved } from './unmoved-boot.ts';

export type VmContact = {
  readonly vm: Vm;
  /** Undefined: it has no agent, does not run, or is not to be asked. */
  readonly channel: Awaited<ReturnType<Hypervisor['agent']>>;
  readonly guest: GuestContact | undefined;
  /** Monotonic. */
  readonly begunMs: number;
  readonly isOpen: boolean;
  /** Idempotent. */
  close(): Promise<void>;
};

/** Older than this the VM may be another by now: started, stopped, its disks or its extension changed. */
const FRESH_MS = 5000;

/**
 * Finds the VM and begins to ask its guest; the caller closes.
 *
 * @throws {HoldfastError} as `Hypervisor.find`; `BootUnfinished` for one whose disks lie partly in a point that nobody
 *   serves.
 */
export async function contactVm(request: {
  readonly hypervisor: Hypervisor;
  readonly vm: string;
  /** False: the guest is left alone. */
  readonly quiesces: boolean;
  readonly clock: Clock;
}): Promise<VmContact> {
  const { hypervisor, quiesces, clock } = request;
  const begunMs = clock.monotonicMs();
  const vm = await hypervisor.find(request.vm);
  await refuseUnmoved(vm);
  const asks = quiesces && vm.state === 'running';
  const channel = asks ? await hypervisor.agent(vm.name) : undefined;
  const guest = channel === undefined ? undefined : contactGuest(channel, clock);
  let isOpen = true;
  let isAnswered = guest === undefined;
  // What it fails with is told to whoever quiesces.
  const answered = (): void => void (isAnswered = true);
  void guest?.found.then(answered, answered);
  return {
    vm,
    channel,
    guest,
    begunMs,
    get isOpen() {
      return isOpen;
    },
    close: async () => {
      isOpen = false;
      const closing = channel?.close();
      // An agent that owes its first answer is not waited for: nobody wants it any more.
      if (isAnswered) await closing;
      else if (closing !== undefined) void toldElsewhere(closing);
    },
  };
}

/** The contact that was given, where it is open and of now, or a new one: one client at a time has the agent. */
export async function freshContact(
  request: Parameters<typeof contactVm>[0] & { readonly contact?: VmContact },
): Promise<VmContact> {
  const { contact, clock } = request;
  if (contact?.isOpen === true) {
    if (clock.monotonicMs() - contact.begunMs < FRESH_MS) return contact;
    await contact.close();
  }
  return await contactVm(request);
}
