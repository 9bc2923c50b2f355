/**
 * A database in a Debian guest that money is moved in all the time, the scripts that stop it for a backup as
 * Azure's configuration names them, and what a restored disk holds of it.
 *
 * Every transfer takes from one account what it gives to another, in one transaction: whatever the instant, the
 * sum stays. SQLite writes with a rollback journal here: a database that was copied within a transaction has
 * `bank.db-journal` beside it, and needs recovery; one that was stopped before has none.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { filesOf, namesIn } from './debian-guest.ts';
import type { TinyGuest } from './tiny-guest.ts';

const FOLDER = '/srv/bank';
const CONFIGURATION = '/etc/azure/VMSnapshotScriptPluginConfig.json';
const ACCOUNT_COUNT = 100;
const SUM = 100_000;

const SCHEMA = `
CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE transfer (number INTEGER PRIMARY KEY, amount INTEGER NOT NULL);
WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ${ACCOUNT_COUNT})
INSERT INTO account SELECT id, ${SUM / ACCOUNT_COUNT} FROM n;`;

/** The pause is for others that want the lock. */
const WRITER = `#!/bin/sh
n=$(sqlite3 ${FOLDER}/bank.db 'SELECT coalesce(max(number), 0) FROM transfer')
while :; do
  n=$((n + 1)) amount=$((n % 97))
  echo "BEGIN IMMEDIATE;
    UPDATE account SET balance = balance - $amount WHERE id = $((n * 7919 % ${ACCOUNT_COUNT} + 1));
    INSERT INTO transfer VALUES ($n, $amount);
    UPDATE account SET balance = balance + $amount WHERE id = $((n * 6101 % ${ACCOUNT_COUNT} + 1));
    COMMIT;"
  echo '.shell sleep 0.02'
done | exec sqlite3 -bail -cmd '.timeout 120000' ${FOLDER}/bank.db
`;

const SERVICE = `[Unit]
Description=Moves money
[Service]
ExecStart=${FOLDER}/writer.sh
[Install]
WantedBy=multi-user.target
`;

/**
 * Takes the database's exclusive lock, once no transaction is open, and keeps it until the post-script. What keeps
 * it has the script's standard error open all the while.
 */
const PRE_SCRIPT = `#!/bin/sh
set -eu
rm -rf /run/bank
mkdir -m 700 /run/bank
mkfifo /run/bank/release
{
  echo 'BEGIN EXCLUSIVE;'
  echo '.shell touch /run/bank/held'
  timeout 300 cat /run/bank/release
  echo 'COMMIT;'
} | sqlite3 -bail -cmd '.timeout 60000' ${FOLDER}/bank.db >/run/bank/log 2>&1 &
until [ -e /run/bank/held ]; do
  kill -0 $! 2>/dev/null || { cat /run/bank/log; exit 1; }
  sleep 0.1
done
`;

const POST_SCRIPT = `#!/bin/sh
[ -e /run/bank/held ] || exit 0
timeout 10 sh -c ': >/run/bank/release' && rm -rf /run/bank
`;

const CONFIGURED = {
  pluginName: 'ScriptRunner',
  preScriptLocation: '/etc/azure/bank-pre.sh',
  postScriptLocation: '/etc/azure/bank-post.sh',
  preScriptParams: [],
  postScriptParams: [],
  preScriptNoOfRetries: 0,
  postScriptNoOfRetries: 0,
  timeoutInSeconds: 180,
  continueBackupOnFailure: true,
  fsFreezeEnabled: true,
};

/** Makes the database, a service that moves money from now on and after every boot, and its scripts. */
export async function openBank(guest: TinyGuest): Promise<void> {
  await guest.sh(
    `mkdir -p ${FOLDER} /etc/azure && sqlite3 -bail ${FOLDER}/bank.db '${SCHEMA}'\n` +
      file(`${FOLDER}/writer.sh`, '755', WRITER) +
      file('/etc/systemd/system/bank.service', '644', SERVICE) +
      file('/etc/azure/bank-pre.sh', '700', PRE_SCRIPT) +
      file('/etc/azure/bank-post.sh', '700', POST_SCRIPT),
  );
  await configureScripts(guest);
  await guest.sh('systemctl daemon-reload && systemctl enable -q --now bank.service');
}

/** Writes Azure's configuration of the scripts, with other `fields` than usual. */
export async function configureScripts(
  guest: TinyGuest,
  fields: Partial<typeof CONFIGURED> = {},
): Promise<void> {
  await guest.sh(file(CONFIGURATION, '600', JSON.stringify({ ...CONFIGURED, ...fields })));
}

/** Waits until `count` more transfers were made. @returns the number of the newest. */
export async function moreTransfers(guest: Pick<TinyGuest, 'sh'>, count: number): Promise<number> {
  const newest = `sqlite3 -cmd '.timeout 60000' ${FOLDER}/bank.db 'SELECT coalesce(max(number), 0) FROM transfer'`;
  const text = await guest.sh(
    `from=$(${newest}); until now=$(${newest}); [ "$now" -ge $((from + ${count})) ]; do sleep 0.2; done; echo $now`,
  );
  return Number(text);
}

/** Whether the database in a raw image of the system disk was copied within a transaction. */
export async function needsRecovery(image: string): Promise<boolean> {
  return (await namesIn(image, FOLDER)).some((name) => name.startsWith('bank.db-'));
}

/** That the database in a raw image is whole and no money was lost; opens a copy in `folder`. @returns transfers. */
export async function transfersIn(image: string, folder: string): Promise<number> {
  await filesOf(image, [`${FOLDER}/bank.db`, `${FOLDER}/bank.db-journal`], folder);
  const path = join(folder, 'bank.db');
  assert.ok(existsSync(path));
  const database = new DatabaseSync(path);
  try {
    const only = (sql: string) => Object.values(database.prepare(sql).get() ?? {})[0];
    assert.equal(only('PRAGMA integrity_check'), 'ok');
    assert.equal(only('SELECT sum(balance) FROM account'), SUM);
    assert.equal(only('SELECT count(*) FROM account'), ACCOUNT_COUNT);
    const newest = Number(only('SELECT max(number) FROM transfer'));
    assert.equal(only('SELECT count(*) FROM transfer'), newest, 'none is missing');
    return newest;
  } finally {
    database.close();
  }
}

function file(path: string, mode: string, content: string): string {
  return `cat >${path} <<'END-OF-FILE'\n${content}\nEND-OF-FILE\nchmod ${mode} ${path} || exit 1\n`;
}
