/** Completion in real shells, by keys on a terminal: what is typed, then the tab key, then Enter. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HOLDFAST } from './holdfast.ts';
import { addVm, serviceProcess } from './service-process.ts';

const service = await serviceProcess();
const { folder, data, images, text } = service;
addVm(service, 'web');
addVm(service, 'my vm');
await text('host', 'add', 'lab', '--connect', `images:${images}`);
await text('vault', 'create', 'v1');
for (const vm of ['web', 'my vm']) await text('protect', vm);
await text('group', 'create', 'shop', '--vm', 'web', '--vm', 'my vm');

// Stands for holdfast: completes as it does, and says what it was run with.
const tools = join(folder, 'tools');
mkdirSync(tools);
const stand = join(tools, 'holdfast');
writeFileSync(
  stand,
  `#!/bin/sh\ncase $1 in __complete | completion) exec '${HOLDFAST}' "$@" ;; esac\nprintf 'ran'\nprintf '<%s>' "$@"\necho '!'\n`,
);
chmodSync(stand, 0o755);
writeFileSync(join(folder, 'only file'), '');

const SHELLS = {
  bash: { command: 'bash --norc --noprofile -i', setUp: 'source <(holdfast completion bash)' },
  zsh: { command: 'zsh -f -i', setUp: 'source <(holdfast completion zsh)' },
  fish: { command: 'fish --no-config -i', setUp: 'holdfast completion fish | source' },
} as const;

/** Typed before the tab key, and the words that the command is run with. */
const LINES: readonly (readonly [string, string])[] = [
  ['backup w', '<backup><web>'],
  ['backup m', '<backup><my vm>'],
  ['backup lab/w', '<backup><lab/web>'],
  ['vault recov', '<vault><recovery-key>'],
  ['backup web --va', '<backup><web><--vault>'],
  ['backup web --vault v', '<backup><web><--vault><v1>'],
  ['backup web --vault=v', '<backup><web><--vault=v1>'],
  ['group backup s', '<group><backup><shop>'],
  ['group show s', '<group><show><shop>'],
  ['points my\\ vm --sin', '<points><my vm><--since>'],
  ['vm show --connect qemu:///system --js', '<vm><show><--connect><qemu:///system><--json>'],
  ['repo points only', '<repo><points><only file>'],
];

for (const [name, { command, setUp }] of Object.entries(SHELLS)) {
  test(`${name} completes commands, options, names and files, and quotes what must be`, async (t) => {
    const { HOLDFAST_PASSWORD: _, ...inherited } = process.env;
    const shell = spawn('script', ['-qec', `stty cols 200; exec ${command}`, '/dev/null'], {
      cwd: folder,
      env: {
        ...inherited,
        SHELL: '/bin/sh',
        TERM: 'xterm',
        HOME: folder,
        PATH: `${tools}:${inherited['PATH']}`,
        HOLDFAST_DATA: data,
      },
    });
    let shown = '';
    shell.stdout.setEncoding('utf8').on('data', (piece: string) => (shown += piece));
    const closed = new Promise((settle) => shell.once('close', settle));
    t.after(() => shell.kill('SIGHUP'));
    const until = async (isThere: () => boolean, what: string): Promise<void> => {
      for (let tries = 0; tries < 400 && !isThere(); tries += 1) await sleep(50);
      assert.ok(isThere(), `${what}: ${shown}`);
    };
    const runs = (): string[] =>
      Array.from(shown.matchAll(/ran((?:<[^>]*>)+)!/g), ([, all]) => all!);
    shell.stdin.write(`${setUp}\nholdfast ready\n`);
    await until(() => runs().includes('<ready>'), 'the shell is ready');
    for (const [typed, words] of LINES) {
      const before = runs().length;
      const from = shown.length;
      shell.stdin.write(`holdfast ${typed}\t`);
      const last = words
        .slice(words.lastIndexOf('<') + 1, -1)
        .split(' ')
        .at(-1)!;
      await until(() => shown.slice(from).includes(last), `${typed} and the tab key`);
      shell.stdin.write('\n');
      await until(() => runs().length > before, `${typed} was run`);
      assert.equal(runs().at(-1), words);
    }
    shell.stdin.write('exit\n');
    await closed;
  });
}
