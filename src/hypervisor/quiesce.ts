/** What quiescing a guest gives: how consistent the instant was, and what was tried (rules 5.8). */

import type { GuestOs } from './agent/guest-agent.ts';

export type Consistency = 'AppConsistent' | 'FileSystemConsistent' | 'CrashConsistent';

/** One thing that was tried, for the job's tasks. */
export type QuiesceStep = {
  /** For example `Install extension`, `Pre-script`, `Freeze`, `Thaw`, `Post-script`. */
  readonly name: string;
  readonly outcome: 'succeeded' | 'failed' | 'skipped';
  /** Azure's, where it has one (R49, R52). */
  readonly code?: string;
  readonly message: string;
  readonly durationMs: number;
};

export type QuiesceResult = {
  readonly consistency: Consistency;
  /** From the agent's reply to freeze to its reply to thaw; undefined: nothing was frozen. */
  readonly frozenMs: number | undefined;
  readonly steps: readonly QuiesceStep[];
  /** What its agent says that the guest is; undefined: it was not asked, or did not answer. */
  readonly guestOs?: GuestOs;
};
