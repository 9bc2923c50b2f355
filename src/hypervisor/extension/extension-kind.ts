/** The backup extension of one operating system: what it is called, where it lies, how its files are put there. */
import type { GuestAgent } from '../agent/guest-agent.ts';

export type ExtensionKind = {
  /** Azure's name of it. */
  readonly name: 'VMSnapshotLinux' | 'VMSnapshot';
  readonly version: string;
  /** Where it may lie, the first that can be written. */
  readonly folders: readonly string[];
  readonly scriptName: string;
  /** What the script does, and what it leaves there while it runs. */
  readonly purpose: string;
  readonly transient: readonly string[];
  readonly script: () => Buffer;
  readonly pathOf: (folder: string, name: string) => string;
  /** Makes the folder, for the system's administrator only. Rejects with `AgentFailed`. */
  readonly makeFolder: (agent: GuestAgent, folder: string) => Promise<void>;
  /** Gives the files their owner and mode and puts them in place of the old ones: all names end in `.new`. */
  readonly putInPlace: (agent: GuestAgent, folder: string) => Promise<void>;
  /** Undefined: only the administrator can change the folder and its files; else what is wrong. */
  readonly openTo: (agent: GuestAgent, folder: string) => Promise<string | undefined>;
  readonly remove: (agent: GuestAgent, folder: string) => Promise<void>;
};
