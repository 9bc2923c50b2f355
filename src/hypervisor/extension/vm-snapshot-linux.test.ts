/** The extension's script under the shells of this machine; thawing for real is shown in real guests. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { describeExtension } from './extension.ts';
import { LINUX_EXTENSION } from './linux-extension.ts';

/** Empty: it has ended, whether or not somebody has taken note. */
function commandLine(pid: string): string {
  const path = `/proc/${pid}/cmdline`;
  return existsSync(path) ? readFileSync(path, 'latin1') : '';
}

for (const shell of ['dash', 'bash']) {
  test(`${shell}: the watchdog leaves its starter's session, and ends when it is cancelled`, (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-extension-'));
    const path = join(folder, 'vm-snapshot.sh');
    copyFileSync(new URL('./vm-snapshot-linux.sh', import.meta.url), path);
    const run = (...args: readonly string[]) =>
      spawnSync(shell, [path, ...args], { encoding: 'utf8', timeout: 60_000 });
    t.after(() => {
      run('cancel');
      rmSync(folder, { recursive: true });
    });

    assert.equal(run('cancel').stdout, 'none\n');
    assert.equal(run('prepare').status, 0);
    assert.equal(run('watch', '1000').status, 0);
    const pid = readFileSync(join(folder, 'watchdog.pid'), 'utf8').trim();
    const session = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ')[3];
    assert.equal(session, pid);
    const transient = readdirSync(folder).filter((name) => name !== 'vm-snapshot.sh');
    assert.deepEqual(
      transient.filter((name) => !LINUX_EXTENSION.transient.includes(name)),
      [],
    );
    assert.equal(run('watch', '1000').status, 0);
    assert.equal(commandLine(pid), '');
    assert.equal(run('cancel').stdout, 'cancelled\n');
    assert.deepEqual(readdirSync(folder), ['vm-snapshot.sh']);
  });

  test(`${shell}: a script gets its parameters, and gives its exit and the end of what it wrote`, (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-extension-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'vm-snapshot.sh');
    copyFileSync(new URL('./vm-snapshot-linux.sh', import.meta.url), path);
    const script = join(folder, 'pre.sh');
    const body = '#!/bin/sh\nseq 10000\nfor word; do echo "<$word>"; done >&2\nexit 9\n';
    writeFileSync(script, body, { mode: 0o700 });
    const { status, stdout } = spawnSync(shell, [path, 'script', script, 'a b', "c'd"], {
      encoding: 'utf8',
    });
    assert.equal(status, 9);
    assert.ok(stdout.endsWith("9999\n10000\n<a b>\n<c'd>\n"));
    assert.equal(stdout.length, 2000);
    assert.deepEqual(readdirSync(folder).toSorted(), ['pre.sh', 'vm-snapshot.sh']);
  });
}

test('no here-document: some shells keep them in files, which hang while frozen', () => {
  assert.doesNotMatch(LINUX_EXTENSION.script().toString('utf8'), /<</);
});

test('what backups put into a guest is listed', () => {
  const paths = describeExtension('linux').map(({ path }) => path);
  assert.equal(paths[0], '/var/lib/holdfast/VMSnapshotLinux');
  assert.ok(paths.every((path) => path.startsWith(paths[0]!)));
  assert.equal(describeExtension('windows')[0]!.path, 'C:\\ProgramData\\Holdfast\\VMSnapshot');
});
