/**
 * One instant of several VMs (decision 0013). Each VM's backup goes its own way and waits at the gates, which open
 * when all have come:
 *
 * ```
 *   pre-script ─► READY ─► freeze ─► QUIET ─► stands still, snapshot ─► AT REST ─► goes on, thaw, post-script
 *      off: snapshot, its images held ─────────┴──────────────────────────┘               │
 *                             commit of all points ◄─ STORED ◄─ transfers, one after another ◄─ THROUGH
 * ```
 * AT REST is the instant: every VM stands still from before its snapshot until then. Whoever fails fails all: whoever
 * waits is told, and `signal` ends what is under way.
 */
import { HoldfastError, isHoldfastError, pause, type Clock, toldElsewhere } from '#base';
import type { ReadyPoint } from '#repository';
import { Gate } from './gate.ts';
import type { PointGroup } from './vm-note.ts';

/** Less than libvirt's watchdog waits (10 s), and a guest's. */
const REST_MS = 8000;

/** What one VM's backup sees of it. */
export type SharedInstant = {
  readonly group: PointGroup;
  /** Resolves when every guest may be frozen. */
  readonly ready: () => Promise<void>;
  /**
   * Resolves when every guest is as quiet as it gets.
   *
   * @param options.waits false: of a VM that does not run; it is asked for its snapshot before the others.
   */
  readonly quiet: (options: { readonly waits: boolean }) => Promise<void>;
  /** Called while the VM stands still, its snapshot taken. Resolves when all others have come there. */
  readonly atRest: () => Promise<void>;
  /** Runs the transfer when that of the VM before has ended. */
  readonly inTurn: <Result>(transfer: () => Promise<Result>) => Promise<Result>;
  /** Resolves when the points of all VMs are visible; rejects where none will be. */
  readonly committed: (point: ReadyPoint) => Promise<void>;
};

export type InstantOptions = {
  readonly group: PointGroup;
  /** Names of the VMs, each once. */
  readonly vms: readonly string[];
  readonly clock: Clock;
  /** Makes all points visible; called once. In the order of `vms`. */
  readonly commit: (points: readonly ReadyPoint[]) => Promise<void>;
  /** Runs all transfers, and the commit, when the group's turn has come. */
  readonly inTurn: (transfers: () => Promise<void>) => Promise<void>;
};

export class InstantOfSeveral {
  readonly #options: InstantOptions;
  readonly #ready: Gate;
  readonly #quiet: Gate;
  readonly #atRest: Gate;
  readonly #through: Gate;
  readonly #stored = new Map<string, ReadyPoint>();
  readonly #committed = Promise.withResolvers<void>();
  readonly #mayTransfer = Promise.withResolvers<void>();
  readonly #failed = new AbortController();
  /** By VM, in their order: resolved when its transfer has ended. */
  readonly #transferred: readonly PromiseWithResolvers<void>[];
  #isCommitting = false;
  #failure: Error | undefined;

  constructor(options: InstantOptions) {
    this.#options = options;
    const { vms } = options;
    this.#transferred = vms.map(() => Promise.withResolvers<void>());
    this.#ready = new Gate(vms);
    this.#quiet = new Gate(vms, () => void this.#limitRest());
    this.#atRest = new Gate(vms);
    this.#through = new Gate(vms, () => void this.#transferAll());
    void toldElsewhere(this.#committed.promise); // Whoever waits is told.
    void toldElsewhere(this.#mayTransfer.promise);
  }

  /** Aborted when the first VM fails. */
  get signal(): AbortSignal {
    return this.#failed.signal;
  }

  /** What the first that failed failed with. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Whether the points are there, or may be. */
  get isCommitting(): boolean {
    return this.#isCommitting;
  }

  /** The backup of one VM has failed: so have all. Once the points are being committed it has no effect. */
  fail(error: unknown): void {
    if (this.#isCommitting) return;
    this.#failure ??= asError(error);
    const told = new HoldfastError('Cancelled', 'the backup of another VM of the group failed', {
      cause: this.#failure,
    });
    for (const gate of [this.#ready, this.#quiet, this.#atRest, this.#through]) gate.close(told);
    this.#committed.reject(told);
    this.#mayTransfer.reject(told);
    this.#failed.abort(told);
  }

  of(vm: string): SharedInstant {
    return {
      group: this.#options.group,
      ready: async () => await this.#ready.come(vm),
      quiet: async ({ waits }) => {
        const isReady = this.#ready.come(vm);
        if (!waits) return;
        await isReady;
        await this.#quiet.come(vm);
      },
      atRest: async () => {
        await this.#quiet.come(vm);
        await this.#atRest.come(vm);
      },
      inTurn: async (transfer) => {
        await this.#through.come(vm);
        await this.#mayTransfer.promise;
        const place = this.#options.vms.indexOf(vm);
        await this.#transferred[place - 1]?.promise;
        try {
          return await transfer();
        } finally {
          this.#transferred[place]!.resolve();
        }
      },
      committed: async (point) => {
        this.#stored.set(vm, point);
        if (this.#stored.size === this.#options.vms.length) this.#commit();
        await this.#committed.promise;
      },
    };
  }

  async #limitRest(): Promise<void> {
    const done = new AbortController();
    const opened = this.#atRest.opened.finally(() => done.abort());
    void toldElsewhere(opened);
    await pause(this.#options.clock, REST_MS, done.signal);
    if (done.signal.aborted) return;
    const late = this.#atRest.missing.map((vm) => `"${vm}"`).join(', ');
    this.fail(
      new HoldfastError(
        'HypervisorFailed',
        `the snapshot of ${late} took more than ${REST_MS / 1000} s, for which the other VMs of the group do not ` +
          'stand still. Run the backup again',
      ),
    );
  }

  async #transferAll(): Promise<void> {
    try {
      await this.#options.inTurn(async () => {
        this.#mayTransfer.resolve();
        await this.#committed.promise;
      });
    } catch (error) {
      // What a VM failed with is known already.
      if (!this.#failed.signal.aborted || !isHoldfastError(error, 'Cancelled')) this.fail(error);
    }
  }

  #commit(): void {
    if (this.#failed.signal.aborted) return;
    this.#isCommitting = true;
    const points = this.#options.vms.map((vm) => this.#stored.get(vm)!);
    this.#options.commit(points).then(
      () => this.#committed.resolve(),
      (error: unknown) => {
        this.#failure = asError(error);
        this.#committed.reject(error);
        this.#failed.abort(error);
      },
    );
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
