/**
 * One job while it runs: what its work sees (`JobRun`), and its row kept up to date. Tasks are written at once,
 * progress and properties with the next beat.
 */
import { HoldfastError, type Clock, type Progress } from '#base';
import type { OpenCatalogue } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import type { JobProgress, JobTask, JobWarning } from './job-records.ts';
import { propertiesFromJson } from './job-records.ts';
import type { JobRun } from './job-runner.ts';
import type { Slots } from './slots.ts';

/** Why a job's signal was aborted. */
export type StopReason = 'cancelled' | 'timed out' | 'service stops';

const SPEED_WINDOW_MS = 10_000;
/** Of jobs that go on for days. */
const MOST_WARNINGS = 100;

export class RunningJob {
  readonly row: Row<'jobs'>;
  readonly #controller = new AbortController();
  readonly #parts: { readonly catalogue: OpenCatalogue; readonly clock: Clock };
  readonly #tasks: JobTask[];
  readonly #properties: Partial<Record<string, string>>;
  /** Of this try. */
  readonly #warnings: JobWarning[] = [];
  readonly #seen: { readonly at: number; readonly doneBytes: number; readonly phase: string }[] =
    [];
  #progress: Progress | undefined;
  #isDirty = false;
  #isTried = false;

  constructor(
    row: Row<'jobs'>,
    taskNames: readonly string[],
    parts: { readonly catalogue: OpenCatalogue; readonly clock: Clock },
  ) {
    this.row = row;
    this.#parts = parts;
    this.#tasks = taskNames.map((name) => ({ name, status: 'NotStarted' }));
    this.#properties = { ...propertiesFromJson(row.properties) };
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get stopReason(): StopReason | undefined {
    return this.signal.aborted ? (this.signal.reason as StopReason) : undefined;
  }

  /** Whether this try has begun with its work; before, it waited. */
  get isTried(): boolean {
    return this.#isTried;
  }

  get hasWarnings(): boolean {
    return this.#warnings.length > 0;
  }

  stop(reason: StopReason): void {
    if (!this.signal.aborted) this.#controller.abort(reason);
  }

  run(slots: Slots): JobRun {
    return {
      job: this.row,
      signal: this.signal,
      holding: async (wanted, work) => await slots(wanted, this.signal, work),
      task: async (task) => {
        if (task.status === 'InProgress') this.countTry();
        this.#setTask(task);
        await this.#write(this.columns());
      },
      progress: (progress) => {
        this.#see(progress);
      },
      property: (name, value) => {
        if (value === '') delete this.#properties[name];
        else this.#properties[name] = value;
        this.#isDirty = true;
      },
      warn: (message, code) => {
        if (this.#warnings.length === MOST_WARNINGS) return;
        if (this.#warnings.some((one) => one.message === message && one.code === code)) return;
        this.#warnings.push(code === undefined ? { message } : { message, code });
        this.#isDirty = true;
      },
      settled: async () => {
        this.row.attempt = 0;
        await this.#write(this.columns());
      },
      setPoint: async (pointId) => {
        this.row.pointId = pointId;
        await this.#write({ pointId });
      },
    };
  }

  /** What has changed since the last time, if anything has. */
  news(): ReturnType<RunningJob['columns']> | undefined {
    return this.#isDirty ? this.columns() : undefined;
  }

  /** From now on this counts as a try. */
  countTry(): void {
    if (this.#isTried) return;
    this.#isTried = true;
    this.row.attempt += 1;
  }

  /** What the row says of how it goes. */
  columns(): Pick<Row<'jobs'>, 'tasks' | 'progress' | 'properties' | 'warnings' | 'attempt'> {
    this.#isDirty = false;
    const progress = this.#shownProgress();
    return {
      tasks: JSON.stringify(this.#tasks),
      progress: progress === undefined ? null : JSON.stringify(progress),
      properties: JSON.stringify(this.#properties),
      warnings: JSON.stringify(this.#warnings),
      attempt: this.row.attempt,
    };
  }

  /** Tasks that did not come to their end, when the job has. */
  endTasks(status: 'Failed' | 'Cancelled' | 'Completed', at: number): void {
    for (const [index, task] of this.#tasks.entries()) {
      if (task.status === 'InProgress') this.#tasks[index] = { ...task, status, endedAt: at };
      else if (task.status === 'NotStarted' && status === 'Completed') {
        this.#tasks[index] = { ...task, status: 'Skipped' };
      }
    }
  }

  #setTask(task: JobTask): void {
    const place = this.#tasks.findIndex(({ name }) => name === task.name);
    if (place < 0) this.#tasks.push(task);
    // What was done stays done at its time.
    else if (this.#tasks[place]!.status !== 'Completed' || task.status !== 'Completed') {
      this.#tasks[place] = { ...this.#tasks[place], ...task };
    }
  }

  #see(progress: Progress): void {
    const at = this.#parts.clock.monotonicMs();
    const { phase, doneBytes } = progress;
    this.#progress = progress;
    this.#seen.push({ at, doneBytes, phase });
    while (this.#seen[0]!.at < at - SPEED_WINDOW_MS || this.#seen[0]!.phase !== phase) {
      this.#seen.shift();
    }
    this.#isDirty = true;
  }

  #shownProgress(): JobProgress | undefined {
    if (this.#progress === undefined) return undefined;
    const [first, last] = [this.#seen[0]!, this.#seen.at(-1)!];
    const seconds = (last.at - first.at) / 1000;
    const { phase, doneBytes, totalBytes } = this.#progress;
    const moved = last.doneBytes - first.doneBytes;
    return {
      phase,
      doneBytes,
      ...(totalBytes === undefined ? {} : { totalBytes }),
      ...(seconds > 0 ? { bytesPerSecond: Math.round(moved / seconds) } : {}),
      at: this.#parts.clock.nowMs(),
    };
  }

  async #write(columns: Partial<Row<'jobs'>>): Promise<void> {
    await this.#parts.catalogue.change(async (change) => {
      const { id } = this.row;
      await change.updateTable('jobs').set(columns).where('id', '=', id).execute();
    });
  }
}

/** What a job failed with, in the words of whoever stopped it. */
export function stopError(reason: StopReason): HoldfastError {
  if (reason === 'timed out') {
    return new HoldfastError(
      'CopyingVHDsFromBackUpVaultTakingLongTime',
      'The job took longer than it may, and was ended. What was stored is used by the next one.',
    );
  }
  return new HoldfastError('Cancelled', `the job was ended: ${reason}`);
}
