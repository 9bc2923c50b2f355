/** The commands of a user against a service that a test serves, and the jobs they begin. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { json } from '../cli/holdfast.ts';
import type { Serving } from './serving.ts';

/** What `jobs show --json` prints, and other commands that begin a job. */
export type Job = {
  readonly id: string;
  readonly status: string;
  readonly properties: Readonly<Record<string, string>>;
  readonly warnings?: readonly string[];
};

export type ServingJobs = {
  /** Where commands find the service. */
  readonly variables: { readonly HOLDFAST_DATA: string };
  /** What the command prints with `--json`. */
  readonly holdfast: <Shape>(...args: string[]) => Promise<Shape>;
  readonly jobNow: (id: string) => Promise<Job>;
  /** The job when it is so; it fails if the job has ended before. */
  readonly until: (id: string, isSo: (job: Job) => boolean) => Promise<Job>;
};

export function servingJobs({ data }: Serving): ServingJobs {
  const variables = { HOLDFAST_DATA: data };
  const holdfast = async <Shape>(...args: string[]): Promise<Shape> =>
    await json<Shape>(args, { variables });
  const jobNow = async (id: string): Promise<Job> => await holdfast<Job>('jobs', 'show', id);
  const until = async (id: string, isSo: (job: Job) => boolean): Promise<Job> => {
    for (;;) {
      const job = await jobNow(id);
      if (isSo(job)) return job;
      assert.match(job.status, /InProgress|Cancelling/, JSON.stringify(job));
      await sleep(100);
    }
  };
  return { variables, holdfast, jobNow, until };
}
