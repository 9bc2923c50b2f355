/** Holdfast and the agent die while a guest is frozen: it thaws by itself. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { isThawed, take, type Taken } from './quiesced-guest.ts';
import { startGuest, type TinyGuest } from './tiny-guest.ts';

test('Holdfast and the agent die while the guest is frozen', async (t) => {
  const guest = await startGuest(t);
  const watchdogSeconds = 10;
  const agentOnly = 'kill -9 $(pidof qemu-ga)';
  // As systemd ends a service whose main process died: everything in its control group.
  const group = '/sys/fs/cgroup/agent.service';
  await guest.sh(`mount -t cgroup2 none /sys/fs/cgroup && mkdir ${group}`);
  const itsGroup = `echo 1 >${group}/cgroup.kill`;
  for (const [round, kill] of [agentOnly, itsGroup, itsGroup].entries()) {
    await t.test(
      `round ${round + 1}: the guest thaws by itself and writes on (${kill})`,
      async () => {
        await guest.sh('rm -f /data/w.* /run/kill-agent /run/wrote');
        // Kills the agent when told on the console; starts it again when the guest has written on without it.
        await guest.sh(`cat >/run/killer <<'EOS'
until [ -e /run/kill-agent ]; do usleep 50000; done
${kill}
sleep 1
before=$(cat /data/w.b)
tries=0
until [ "$(cat /data/w.b)" -gt "$((before + 1))" ] || [ $tries -gt 300 ]; do sleep 1; tries=$((tries + 1)); done
[ $tries -gt 300 ] || pidof qemu-ga || echo "$before" >/run/wrote
rm -f /run/qemu-ga.pid
qemu-ga -d -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run -F/etc/qemu/fsfreeze-hook -f /run/qemu-ga.pid -l /run/qemu-ga.log
EOS
setsid sh /run/killer </dev/null >/dev/null 2>&1 &
setsid tg-writer 1000000 /data </dev/null >/dev/null 2>&1 &
until [ -s /data/w.b ]; do usleep 50000; done
echo $(pidof qemu-ga) >${group}/cgroup.procs`);
        await killedInTheInstant(guest, watchdogSeconds);
        await typed(guest, 'touch /run/kill-agent');

        // Waits for the restarted agent, finds what the dead backup left, and backs up in order.
        const taken = await untilAnswered(guest, watchdogSeconds);
        assert.equal(taken.consistency, 'FileSystemConsistent');
        const said = taken.steps.map(({ message }) => message).join();
        assert.match(said, /left frozen by a backup that died/);
        assert.match(await guest.sh('cat /run/wrote'), /^\d+$/m);
        // Its subshells have its name too, and may end between being seen and being told to.
        await guest.sh(
          'while pidof tg-writer >/dev/null; do kill $(pidof tg-writer) 2>/dev/null; usleep 50000; done',
        );
        await isThawed(guest);
      },
    );
  }
});

/** One line to the root shell on the guest's console: the way that needs no agent. */
async function typed(guest: TinyGuest, line: string): Promise<void> {
  const socket = connect(join(guest.runDir, 'console.sock'));
  await once(socket, 'connect');
  socket.resume();
  socket.end(`\n${line}\n`);
  await once(socket, 'close');
}

/** Runs Holdfast in a process of its own and kills it when the guest is frozen. */
async function killedInTheInstant(guest: TinyGuest, watchdogSeconds: number): Promise<void> {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      join(import.meta.dirname, 'quiesce-child.ts'),
      guest.agentPath,
      String(watchdogSeconds),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  assert.equal(line, 'FROZEN');
  child.kill('SIGKILL');
  await exited;
}

async function untilAnswered(guest: TinyGuest, watchdogSeconds: number): Promise<Taken> {
  for (;;) {
    const taken = await take(guest, { watchdogSeconds });
    if (!taken.steps.some(({ code }) => code === 'UserErrorGuestAgentStatusUnavailable'))
      return taken;
  }
}
