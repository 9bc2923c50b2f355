/** Who is mailed when backup data is deleted (R58), by a real mail server, on a clock that the test moves. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SMTPServer } from 'smtp-server';
import { QUIET, rulesLab } from './rules-lab.ts';

type Mail = { readonly to: readonly string[]; readonly subject: string; readonly text: string };

/** A mail server on loopback. */
class PostOffice {
  readonly mails: Mail[] = [];
  #server: SMTPServer | undefined;
  port = 0;

  async open(): Promise<void> {
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['AUTH', 'STARTTLS'],
      onData: (stream, session, done) => {
        const parts: Buffer[] = [];
        stream.on('data', (part: Buffer) => parts.push(part));
        stream.on('end', () => {
          const to = session.envelope.rcptTo.map(({ address }) => address);
          this.mails.push({ to, ...readMail(Buffer.concat(parts).toString()) });
          done();
        });
      },
    });
    this.#server = server;
    const listening = new Promise((resolve) =>
      server.listen(this.port, '127.0.0.1', () => resolve(true)),
    );
    await listening;
    const at = server.server.address();
    this.port = typeof at === 'object' && at !== null ? at.port : 0;
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (server !== undefined) await new Promise((resolve) => server.close(() => resolve(true)));
  }
}

/** Folded lines and quoted-printable unfolded; all that is mailed here is ASCII. */
function readMail(raw: string): Pick<Mail, 'subject' | 'text'> {
  const [head = '', ...body] = raw.split('\r\n\r\n');
  const subject = /^Subject: (.*(?:\r\n .*)*)/m.exec(head)?.[1] ?? '';
  const text = body.join('\n\n').replaceAll('=\r\n', '').replaceAll('\r\n', '\n');
  return { subject: subject.replaceAll(/\r\n /g, ' '), text: text.replaceAll('=3D', '=') };
}

async function postedLab(t: TestContext) {
  const office = new PostOffice();
  await office.open();
  t.after(async () => await office.close());
  const mail = {
    smtp: `smtp://127.0.0.1:${office.port}`,
    from: 'holdfast@example.org',
    to: ['one@example.org', 'two@example.org'],
  };
  const lab = await rulesLab(t, { policy: QUIET, settings: { mail } });
  /** The next mail that comes, while time passes by the minute. */
  const next = async (): Promise<Mail> => {
    const before = office.mails.length;
    for (let tries = 0; office.mails.length === before; tries += 1) {
      assert.ok(tries < 500, `no mail came after ${JSON.stringify(office.mails)}`);
      lab.vm.clock.advance(10_000);
      await sleep(10);
    }
    return office.mails[before]!;
  };
  /** Nothing more is mailed for some minutes. */
  const quiet = async (): Promise<void> => {
    const before = office.mails.length;
    for (let minutes = 0; minutes < 4; minutes += 1) {
      lab.vm.clock.advance(60_000);
      await sleep(50);
    }
    assert.deepEqual(office.mails.slice(before), []);
  };
  return { office, lab, next, quiet };
}

test('R58 mails tell of deleted data on the day, two days before it goes, and when it has gone; undeleted, nothing more', async (t) => {
  const { lab, next, quiet } = await postedLab(t);
  await lab.backUp(300);
  let coming = next();
  await lab.deleteData();
  const first = await coming;
  assert.deepEqual(first.to, ['one@example.org', 'two@example.org']);
  assert.match(
    first.subject,
    /^Holdfast: backup data was deleted, and can be undeleted \(VM lab\/web, vault lab\/v1\)$/,
  );
  assert.match(
    first.text,
    /VM lab\/web, vault lab\/v1: deleted 2026-01-01T.*, goes 2026-01-15T.*; until then "holdfast undelete" brings it back/,
  );
  await quiet();
  await lab.undelete();
  await lab.vm.pass(13);
  await quiet();

  coming = next();
  await lab.deleteData();
  assert.match((await coming).subject, /backup data was deleted/);
  await lab.vm.pass(11.9);
  await quiet();
  coming = next();
  await lab.vm.pass(0.2);
  assert.match((await coming).subject, /deleted backup data goes for good soon/);
  // What was told is not told again by another start.
  await lab.vm.made.restart();
  await quiet();
  coming = next();
  await lab.vm.pass(2);
  const last = await coming;
  assert.match(last.subject, /deleted backup data has gone \(VM lab\/web, vault lab\/v1\)/);
  await quiet();
  assert.deepEqual(lab.vm.made.complaints, []);
});

test('R58 R60 a vault that is deleted and goes is mailed, too; its VMs go with it, not before', async (t) => {
  const { lab, next, quiet } = await postedLab(t);
  await lab.backUp(300);
  let coming = next();
  await lab.deleteData();
  await coming;
  await lab.vm.pass(1);
  coming = next();
  assert.equal((await lab.call('DELETE', lab.vault)).status, 200);
  const told = await coming;
  assert.match(told.subject, /backup data was deleted, and can be undeleted \(vault lab\/v1\)/);
  assert.match(told.text, /until then "holdfast vault undelete" brings it back/);
  await quiet();
  coming = next();
  await lab.vm.pass(12.1);
  assert.match((await coming).subject, /goes for good soon \(vault lab\/v1\)/);
  await quiet();
  coming = next();
  await lab.vm.pass(2);
  const gone = await coming;
  assert.match(gone.subject, /deleted backup data has gone \(2 of them\)/);
  assert.match(gone.text, /VM lab\/web, vault lab\/v1: .*\n {2}vault lab\/v1: /);
});

test('R58 a mail server that is away is told of in the log, and tried until it is back', async (t) => {
  const { office, lab, next } = await postedLab(t);
  await lab.backUp(300);
  await office.close();
  await lab.deleteData();
  for (let tries = 0; lab.vm.made.complaints.length === 0; tries += 1) {
    assert.ok(tries < 500);
    lab.vm.clock.advance(10_000);
    await sleep(10);
  }
  assert.match(
    lab.vm.made.complaints[0]!,
    /mailing of deleted data failed; it is tried again .*ECONNREFUSED/,
  );
  await office.open();
  assert.match((await next()).subject, /backup data was deleted/);
});
