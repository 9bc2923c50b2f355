/** VMSnapshotLinux: a POSIX shell script that holds the in-guest watchdog and runs pre- and post-scripts. */
import { readFileSync } from 'node:fs';
import { HoldfastError } from '#base';
import type { GuestAgent } from '../agent/guest-agent.ts';
import type { ExtensionKind } from './extension-kind.ts';

/** Raised with every change of the script, so that guests get it. */
const VERSION = '1.0.2';
const SCRIPT_NAME = 'vm-snapshot.sh';
const STEP_MS = 20_000;

export const LINUX_EXTENSION: ExtensionKind = {
  name: 'VMSnapshotLinux',
  version: VERSION,
  // The second for guests with a read-only or full root: it goes with a restart, the next backup installs it again.
  folders: ['/var/lib/holdfast/VMSnapshotLinux', '/run/holdfast/VMSnapshotLinux'],
  scriptName: SCRIPT_NAME,
  purpose: 'the watchdog that thaws by itself, and what runs pre- and post-scripts',
  transient: ['watchdog.pid', 'watchdog.ready', 'watchdog.fired', 'script.out'],
  script: () => readFileSync(new URL('./vm-snapshot-linux.sh', import.meta.url)),
  pathOf: (folder, name) => `${folder}/${name}`,

  makeFolder: (agent, folder) =>
    shell(
      agent,
      'mkdir -p -- "${1%/*}" && { [ -d "$1" ] || mkdir -m 700 -- "$1"; } && chown 0:0 "$1" && chmod 700 "$1"',
      folder,
    ),

  putInPlace: (agent, folder) =>
    shell(
      agent,
      `cd -- "$1" && chown 0:0 ${SCRIPT_NAME}.new state.json.new && chmod 700 ${SCRIPT_NAME}.new && ` +
        `chmod 600 state.json.new && mv -f ${SCRIPT_NAME}.new ${SCRIPT_NAME} && mv -f state.json.new state.json`,
      folder,
    ),

  openTo: async (agent, folder) => {
    const paths = [folder, `${folder}/${SCRIPT_NAME}`];
    const exit = await agent.exec({
      path: '/bin/ls',
      args: ['-ldn', ...paths],
      timeoutMs: STEP_MS,
    });
    const lines = exit.stdout.toString('utf8').trim().split('\n');
    const wrong = lines.findIndex((line) => !/^.rwx------[.]? +\d+ +0 /.test(line));
    return wrong < 0 && lines.length === 2
      ? undefined
      : `${paths[wrong] ?? folder} was open to others or had another owner`;
  },

  remove: (agent, folder) =>
    shell(
      agent,
      `[ -f "$1/${SCRIPT_NAME}" ] && /bin/sh "$1/${SCRIPT_NAME}" cancel >/dev/null 2>&1; ` +
        'rm -rf -- "$1" && { rmdir -- "${1%/*}" 2>/dev/null; [ ! -e "$1" ]; }',
      folder,
    ),
};

async function shell(agent: GuestAgent, script: string, folder: string): Promise<void> {
  const exit = await agent.exec({
    path: '/bin/sh',
    args: ['-c', script, 'sh', folder],
    timeoutMs: STEP_MS,
  });
  if (exit.exitCode === 0) return;
  const text = exit.stderr.toString('utf8').trim() || `exit ${exit.exitCode ?? 'by a signal'}`;
  throw new HoldfastError('AgentFailed', `backup extension: ${text}`, {
    details: { folder, class: 'ExtensionNotInstalled', text },
  });
}
