/** Holdfast, frozen in the middle of a backup, for a test to kill: prints FROZEN in the instant and never ends it. */
import { randomBytes } from 'node:crypto';
import { realClock } from '#base';
import { openSocketChannel } from '../../src/hypervisor/agent/socket-channel.ts';
import { quiesced } from '../../src/hypervisor/consistency/quiesced.ts';

const [path = '', watchdogSeconds = '30'] = process.argv.slice(2);
const clock = realClock();
await quiesced(
  {
    vm: { name: 'tiny', state: 'running', disks: [] },
    channel: openSocketChannel({ path, clock, random: randomBytes }),
    clock,
    warn: (message) => console.error(message),
    discard: async () => undefined,
    watchdogSeconds: Number(watchdogSeconds),
  },
  async () => {
    console.log('FROZEN');
    await new Promise(() => setInterval(() => undefined, 1000));
  },
);
