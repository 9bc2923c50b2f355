/** A real guest that is quiesced once, and what tells that nothing of it is left. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { realClock } from '#base';
import { GuestAgent } from '../../src/hypervisor/agent/guest-agent.ts';
import { openSocketChannel } from '../../src/hypervisor/agent/socket-channel.ts';
import { quiesced } from '../../src/hypervisor/consistency/quiesced.ts';
import type { QuiesceOptions } from '../../src/hypervisor/consistency/quiesce-run.ts';
import type { QuiesceResult, QuiesceStep } from '../../src/hypervisor/quiesce.ts';
import type { TinyGuest } from './tiny-guest.ts';

export const clock = realClock();
const DISK = { name: 'vd0', sizeBytes: 1 << 28, format: 'qcow2', location: '/x' } as const;

export type Taken = QuiesceResult & { readonly warnings: string[]; readonly discarded: string[] };
type Settings = Partial<Omit<QuiesceOptions<string>, 'vm'>> & {
  readonly diskCount?: number;
  readonly atInstant?: (agent: GuestAgent) => Promise<void>;
};

/** One quiesced instant through a channel of its own; steps and discards also of those that fail. */
export async function take(
  guest: TinyGuest,
  settings: Settings = {},
  seen: { steps: QuiesceStep[]; discarded: string[] } = { steps: [], discarded: [] },
): Promise<Taken> {
  const channel = openSocketChannel({ path: guest.agentPath, clock, random: randomBytes });
  const { diskCount = 1, atInstant = async () => undefined, ...options } = settings;
  const warnings: string[] = [];
  try {
    const { quiesce, ended } = await quiesced<string>(
      {
        vm: {
          name: 'tiny',
          state: 'running',
          disks: Array.from({ length: diskCount }, () => DISK),
        },
        channel,
        clock,
        warn: (message) => warnings.push(message),
        onStep: (step) => seen.steps.push(step),
        discard: async (result) => void seen.discarded.push(result),
        ...options,
      },
      async () => {
        await atInstant(new GuestAgent(channel, clock));
        return 'the snapshot';
      },
    );
    await ended;
    return { ...quiesce, warnings, discarded: seen.discarded };
  } finally {
    await channel.close();
  }
}

export async function isThawed(guest: TinyGuest): Promise<void> {
  await guest.sh('echo x >/data/probe && sync && rm /data/probe');
  const left = await guest.sh('ps | grep "[w]atchdog"; ls /var/lib/holdfast/VMSnapshotLinux');
  assert.deepEqual(left.trim().split('\n'), ['state.json', 'vm-snapshot.sh']);
}
