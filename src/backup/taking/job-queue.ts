/** Jobs of several disks as one queue: each disk in turn, so that all go on side by side. */

export class JobQueue<Job> {
  readonly #disks: AsyncGenerator<Job>[];

  constructor(disks: readonly AsyncGenerator<Job>[]) {
    this.#disks = [...disks];
  }

  /** The next job; undefined: there are none left. Calls may overlap. */
  readonly next = async (): Promise<Job | undefined> => {
    for (;;) {
      const disk = this.#disks.shift();
      if (disk === undefined) return undefined;
      // Back in the queue at once: a call that comes meanwhile finds it too.
      this.#disks.push(disk);
      const { value, done } = await disk.next();
      if (done !== true) return value;
      const at = this.#disks.indexOf(disk);
      if (at >= 0) this.#disks.splice(at, 1);
    }
  };
}
