import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeClock, realClock } from '#base';
import { QmpClient, type QmpEvent } from './qmp-client.ts';

const GREETING = { QMP: { version: {}, capabilities: [] } };

type Sent = { readonly execute: string; readonly arguments?: unknown; readonly id: number };
type Answer = (sent: Sent, send: (message: object) => void, socket: Socket) => void;

/** A server that greets, agrees to the capabilities, and answers every other command by `answer`. */
async function scripted(
  t: TestContext,
  answer: Answer,
  greeting: object = GREETING,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-qmp-'));
  const path = join(folder, 'qmp.sock');
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    const send = (message: object): void => void socket.write(`${JSON.stringify(message)}\r\n`);
    send(greeting);
    let text = '';
    socket.setEncoding('utf8').on('data', (piece: string) => {
      const lines = (text + piece).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        const sent = JSON.parse(line) as Sent;
        if (sent.execute === 'qmp_capabilities') send({ return: {}, id: sent.id });
        else answer(sent, send, socket);
      }
    });
    socket.on('error', () => {}); // A client that leaves in the middle is part of the tests.
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await rm(folder, { recursive: true });
  });
  return path;
}

async function connect(t: TestContext, path: string): Promise<QmpClient> {
  const client = await QmpClient.connect({ path, clock: realClock() });
  t.after(async () => await client.close());
  return client;
}

test('commands are pipelined, and each gets its own answer whatever comes between', async (t) => {
  const held: number[] = [];
  const path = await scripted(t, ({ execute, id }, send) => {
    held.push(id);
    if (execute !== 'query-uuid') return;
    send({ event: 'RESUME', data: {}, timestamp: {} });
    const [name, status, uuid] = held;
    send({ return: { UUID: 'u' }, id: uuid });
    send({ return: { running: true, status: 'running' }, id: status });
    send({ return: { name: 'n' }, id: name });
  });
  const client = await connect(t, path);
  const events: QmpEvent[] = [];
  const forget = client.onEvent((event) => events.push(event));
  const answers = await Promise.all([
    client.execute('query-name'),
    client.execute('query-status'),
    client.execute('query-uuid'),
  ]);
  assert.deepEqual(answers, [{ name: 'n' }, { running: true, status: 'running' }, { UUID: 'u' }]);
  assert.deepEqual(events, [{ event: 'RESUME', data: {} }]);
  forget();
});

test("a command that QEMU refuses carries QEMU's class and text, and the next one works", async (t) => {
  const path = await scripted(t, ({ execute, id }, send) => {
    if (execute === 'stop') send({ error: { class: 'GenericError', desc: 'not now' }, id });
    else send({ return: {}, id });
  });
  const client = await connect(t, path);
  await assert.rejects(client.execute('stop'), {
    code: 'HypervisorFailed',
    message: 'QEMU refused stop: not now',
    details: { command: 'stop', class: 'GenericError', text: 'not now' },
  });
  assert.deepEqual(await client.execute('cont'), {});
});

test('an answer in pieces, with letters cut in two, is put together', async (t) => {
  const path = await scripted(t, ({ id }, _send, socket) => {
    const bytes = Buffer.from(`${JSON.stringify({ return: { name: 'grün' }, id })}\n`);
    const cut = bytes.indexOf(0xc3) + 1;
    socket.write(bytes.subarray(0, cut));
    setImmediate(() => socket.write(bytes.subarray(cut)));
  });
  const client = await connect(t, path);
  assert.deepEqual(await client.execute('query-name'), { name: 'grün' });
});

test('when QEMU goes, commands under way and later ones say so, and it is known that it went', async (t) => {
  const path = await scripted(t, (_sent, _send, socket) => socket.destroy());
  const client = await connect(t, path);
  await assert.rejects(client.execute('query-name'), { code: 'HypervisorUnavailable' });
  await assert.rejects(client.execute('query-name'), /it closed the connection/);
  assert.equal(client.isGone, true);
  assert.equal((await client.closed).code, 'HypervisorUnavailable');
});

test('a QEMU that does not answer in time ends the client, and may still be there', async (t) => {
  const path = await scripted(t, () => {});
  const clock = new FakeClock();
  const client = await QmpClient.connect({ path, clock, timeoutMs: 1000 });
  const answer = client.execute('query-name');
  clock.advance(1000);
  await assert.rejects(answer, /no answer within 1000 ms: query-name/);
  assert.deepEqual([client.isOpen, client.isGone], [false, false]);
});

test('no socket, nobody behind it, somebody else: each is unavailable', async (t) => {
  const clock = realClock();
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-qmp-'));
  t.after(async () => await rm(folder, { recursive: true }));
  const none = QmpClient.connect({ path: join(folder, 'none.sock'), clock });
  await assert.rejects(none, { code: 'HypervisorUnavailable', message: /start the VM with -qmp/ });

  const other = createServer((socket) => void socket.write('220 mail\r\n'));
  const path = join(folder, 'other.sock');
  await new Promise<void>((resolve) => other.listen(path, resolve));
  t.after(() => other.close());
  await assert.rejects(
    QmpClient.connect({ path, clock }),
    /something else answers there: name the socket of -qmp/,
  );
});

test('a socket that serves another client gives no greeting: the message says that', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-qmp-'));
  const path = join(folder, 'q.sock');
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer((socket) => accepted.resolve(socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(async () => {
    server.close();
    await rm(folder, { recursive: true });
  });
  const clock = new FakeClock();
  const connecting = QmpClient.connect({ path, clock, timeoutMs: 1000 });
  const socket = await accepted.promise;
  clock.advance(1000);
  await assert.rejects(connecting, /no greeting within 1 s, .* one client at a time/);
  socket.destroy();
});

test('a real QEMU answers, tells of events, and its end is noticed', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-qmp-'));
  const path = join(folder, 'qmp.sock');
  const args = ['-S', '-display', 'none', '-nodefaults', '-machine', 'none', '-name', 'bare'];
  const qemu = spawn('qemu-system-x86_64', [...args, '-qmp', `unix:${path},server=on,wait=off`], {
    stdio: 'ignore',
  });
  const ended = once(qemu, 'close');
  t.after(async () => {
    qemu.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true });
  });
  while (!existsSync(path) && qemu.exitCode === null) await sleep(5);
  const client = await connect(t, path);
  assert.equal((await client.execute('query-name')).name, 'bare');
  assert.deepEqual(await client.execute('query-block'), []);
  await assert.rejects(client.execute('blockdev-del', { 'node-name': 'none' }), {
    code: 'HypervisorFailed',
    message: /Failed to find node with node-name='none'/,
  });
  const shutdown = new Promise<QmpEvent>((resolve) => {
    client.onEvent((event) => {
      if (event.event === 'SHUTDOWN') resolve(event);
    });
  });
  qemu.kill('SIGTERM');
  assert.equal((await shutdown).data['guest'], false);
  await client.closed;
  assert.equal(client.isGone, true);
});
