/** Entry of the threads that read, open and check frames for a served point. */
import assert from 'node:assert/strict';
import { parentPort } from 'node:worker_threads';
import { freeMemory } from '#base';
import { FrameOpener } from '#repository';
import { openStore, type ObjectStore } from '#storage';
import { CallPort } from '../threads/call-port.ts';
import type { ServeWorkerCalls } from './serve-calls.ts';

let store: ObjectStore | undefined;
let opener: FrameOpener | undefined;
let cells = new Uint8Array(0);

const handlers: ServeWorkerCalls = {
  begin: async (data) => {
    cells = new Uint8Array(data.cells as unknown as ArrayBuffer);
    store = await openStore(data.repository.location, { readOnly: true });
    opener = new FrameOpener(store, data.repository.keyring);
  },
  frame: async ({ packId, frame, offset, limitBytes }) => {
    const { raw, ids } = await opener!.whole(Buffer.from(packId), frame);
    assert(raw.length <= limitBytes, 'a frame fits its cell');
    cells.set(raw, offset);
    freeMemory(raw);
    return new Uint8Array(ids);
  },
  stop: () => undefined,
  close: async () => await store?.close(),
};

new CallPort(parentPort!, handlers);
