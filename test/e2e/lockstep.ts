/**
 * Two guests in which the second writes only what the first has written: number n goes to the first, durably, then to
 * the second, durably, then n + 1 follows. So at every moment b ≤ a ≤ b + 1, and every pair of points of one instant
 * must say so. Each writes to a raw disk, which no freeze of a file system holds back.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

/** The name of the virtio port in the guest; `/dev/vdb` takes the number. */
const PORT = 'lockstep';

export type LockstepGuest = {
  readonly sh: (script: string) => Promise<string>;
  /** Where the host reaches its port. */
  readonly socketPath: string;
};

/** Arguments of QEMU for the port. */
export function portArguments(socketPath: string): readonly string[] {
  const chardev = `socket,id=lk,path=${socketPath},server=on,wait=off`;
  const port = `virtserialport,chardev=lk,name=${PORT},bus=lk.0`;
  return ['-device', 'virtio-serial-pci,id=lk', '-chardev', chardev, '-device', port];
}

/** Devices of a domain for the port. */
export function portXml(socketPath: string): string {
  return `<channel type='unix'><source mode='bind' path='${socketPath}'/><target type='virtio' name='${PORT}'/></channel>`;
}

/** While nobody is connected reading the port ends at once. */
const WRITER = `exec 3<>/dev/virtio-ports/${PORT}
while :; do
while read n <&3; do
case $n in
beat) echo x >/data/beat && sync && echo "$n" >&3;;
*) printf '%-16s' "$n" | dd of=/dev/vdb bs=16 count=1 conv=notrunc,fsync 2>/dev/null && echo "$n" >&3;;
esac
done
usleep 50000
done`;

/** What a restored disk says. */
export async function numberOn(image: string): Promise<number> {
  const file = await open(image);
  try {
    const { buffer } = await file.read(Buffer.alloc(16), 0, 16, 0);
    const text = buffer.toString('latin1').replaceAll('\0', '').trim();
    assert.match(text, /^\d*$/);
    return Number(text);
  } finally {
    await file.close();
  }
}

export class Lockstep {
  readonly #sides: readonly Side[];
  #last = 0;
  #isStopped = false;
  #beats: (() => void)[] = [];
  #running: Promise<void> | undefined;

  private constructor(sides: readonly Side[]) {
    this.#sides = sides;
  }

  /** Begins, and goes on until the test ends. */
  static async begin(t: TestContext, guests: readonly LockstepGuest[]): Promise<Lockstep> {
    const sides: Side[] = [];
    for (const guest of guests) {
      sides.push(await Side.open(guest.socketPath));
      await guest.sh(`(${WRITER}) >/dev/null 2>&1 </dev/null &`);
    }
    const lockstep = new Lockstep(sides);
    lockstep.#running = lockstep.#run();
    t.after(async () => {
      lockstep.#isStopped = true;
      for (const side of sides) side.close();
      await lockstep.#running;
    });
    await lockstep.more(3);
    return lockstep;
  }

  /** Waits until all have written `count` more: nobody stands still, or is stopped for good. @returns the newest. */
  async more(count: number): Promise<number> {
    const from = this.#last;
    while (this.#last < from + count) {
      assert.ok(!this.#isStopped, 'a guest does not answer any more');
      await sleep(20);
    }
    return this.#last;
  }

  /** Waits until every guest has written to its file system, which it cannot while it is frozen. */
  async beat(): Promise<void> {
    await new Promise<void>((resolve) => void this.#beats.push(resolve));
  }

  async #run(): Promise<void> {
    try {
      for (let n = 1; !this.#isStopped; n += 1) {
        for (const side of this.#sides) await side.write(String(n));
        this.#last = n;
        const beats = this.#beats.splice(0);
        if (beats.length === 0) continue;
        for (const side of this.#sides) await side.write('beat');
        for (const done of beats) done();
      }
    } catch {
      this.#isStopped = true; // Its guest ended, or the test did; `more` says so.
    }
  }
}

class Side {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#reader = createInterface({ input: socket });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  static async open(path: string): Promise<Side> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new Side(socket);
  }

  /** Returns when the guest has it on its disk. */
  async write(line: string): Promise<void> {
    this.#socket.write(`${line}\n`);
    const { value, done } = await this.#lines.next();
    assert.ok(done !== true);
    assert.equal(value, line);
  }

  close(): void {
    this.#reader.close();
    this.#socket.destroy();
  }
}
