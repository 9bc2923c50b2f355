/**
 * The backup extension in a guest (R51): installed by the first backup of the running VM, kept up to date and
 * repaired by every later one. All of it lies in one folder of its own; nothing else in the guest changes (M11).
 *
 * ```
 *   absent ──ensure──► installed ──ensure──► installed
 *     ▲                 │   │ older, changed, incomplete, open to others ──ensure──► written again
 *     └──── uninstall ──┘   └ deleted by its user ──ensure──► installed again
 * ```
 */
import { HoldfastError, isHoldfastError, type Clock } from '#base';
import type { GuestAgent } from '../agent/guest-agent.ts';
import type { ExtensionKind } from './extension-kind.ts';
import { LINUX_EXTENSION } from './linux-extension.ts';
import { WINDOWS_EXTENSION } from './windows-extension.ts';

export type InstalledExtension = {
  readonly name: string;
  readonly version: string;
  readonly folder: string;
  readonly scriptPath: string;
};

export type EnsuredExtension = {
  readonly extension: InstalledExtension;
  /** Undefined: it was there, whole. Else what was done, for the job. */
  readonly change: string | undefined;
};

export type ExtensionState = {
  readonly name: string;
  /** Of what is there, or would be installed. */
  readonly version: string;
  readonly state: 'absent' | 'installed' | 'damaged';
  /** What is wrong with it, where it is damaged. */
  readonly fault?: string;
  /** All that it has put into the guest. */
  readonly files: readonly { readonly path: string; readonly what: string }[];
};

const STATE_NAME = 'state.json';
const MAX_FILE_BYTES = 256 * 1024;

/**
 * Makes sure that this version of the extension is in the guest, whole.
 *
 * @throws {HoldfastError} `AgentFailed` if no folder can be written or the agent may run no commands;
 *   `AgentUnavailable`.
 */
export async function ensureExtension(agent: GuestAgent, clock: Clock): Promise<EnsuredExtension> {
  const kind = await kindOf(agent);
  const found = await findInstalled(agent, kind);
  if (found?.fault === undefined && found !== undefined) {
    return { extension: installed(kind, found.folder), change: undefined };
  }
  const change = found?.fault ?? 'installed';
  const folders = [...new Set([...(found === undefined ? [] : [found.folder]), ...kind.folders])];
  const refusals: string[] = [];
  for (const folder of folders) {
    try {
      await write({ agent, kind, clock }, folder);
      const where = refusals.length === 0 ? '' : ` (${refusals.join('; ')})`;
      return { extension: installed(kind, folder), change: `${change} in ${folder}${where}` };
    } catch (error) {
      if (!isHoldfastError(error, 'AgentFailed')) throw error;
      refusals.push(`${folder}: ${error.details['text'] ?? error.message}`);
    }
  }
  throw new HoldfastError(
    'AgentFailed',
    `the backup extension ${kind.name} cannot be installed in the guest: ${refusals.join('; ')}`,
    { details: { class: 'ExtensionNotInstalled', text: refusals.join('; ') } },
  );
}

/**
 * Looks, and changes nothing.
 *
 * @returns where this version of the extension is, whole; undefined: nowhere.
 * @throws {HoldfastError} `AgentUnavailable`; `AgentFailed` if the agent may run no commands.
 */
export async function findExtension(agent: GuestAgent): Promise<InstalledExtension | undefined> {
  const kind = await kindOf(agent);
  const found = await findInstalled(agent, kind);
  if (found === undefined || found.fault !== undefined) return undefined;
  return installed(kind, found.folder);
}

/** Looks, and changes nothing. @throws {HoldfastError} `AgentUnavailable`. */
export async function lookAtExtension(agent: GuestAgent): Promise<ExtensionState> {
  const kind = await kindOf(agent);
  const { name, version } = kind;
  const found = await findInstalled(agent, kind);
  if (found === undefined) return { name, version, state: 'absent', files: [] };
  const family = name === 'VMSnapshot' ? 'windows' : 'linux';
  const files = describeExtension(family, found.folder);
  if (found.fault === undefined) return { name, version, state: 'installed', files };
  return { name, version, state: 'damaged', fault: found.fault, files };
}

/** Takes everything away that `ensureExtension` made; idempotent. @returns the folders that were removed. */
export async function uninstallExtension(agent: GuestAgent): Promise<readonly string[]> {
  const kind = await kindOf(agent);
  const removed: string[] = [];
  for (const folder of kind.folders) {
    if ((await inspect(agent, kind, folder)) === undefined) continue;
    await kind.remove(agent, folder);
    removed.push(folder);
  }
  return removed;
}

/** All that backups put into the guest, for its owner to see (M11). */
export function describeExtension(
  family: 'linux' | 'windows',
  folder?: string,
): readonly { readonly path: string; readonly what: string }[] {
  const kind = family === 'linux' ? LINUX_EXTENSION : WINDOWS_EXTENSION;
  const place = folder ?? kind.folders[0]!;
  return [
    { path: place, what: `the folder of the backup extension ${kind.name} ${kind.version}` },
    { path: kind.pathOf(place, kind.scriptName), what: kind.purpose },
    { path: kind.pathOf(place, STATE_NAME), what: 'its name, version and time of installation' },
    ...kind.transient.map((name) => ({
      path: kind.pathOf(place, name),
      what: 'only while a backup prepares, freezes or runs scripts',
    })),
  ];
}

async function kindOf(agent: GuestAgent): Promise<ExtensionKind> {
  return (await agent.osInfo()).family === 'windows' ? WINDOWS_EXTENSION : LINUX_EXTENSION;
}

function installed(kind: ExtensionKind, folder: string): InstalledExtension {
  const scriptPath = kind.pathOf(folder, kind.scriptName);
  return { name: kind.name, version: kind.version, folder, scriptPath };
}

async function findInstalled(
  agent: GuestAgent,
  kind: ExtensionKind,
): Promise<{ folder: string; fault: string | undefined } | undefined> {
  for (const folder of kind.folders) {
    const state = await inspect(agent, kind, folder);
    if (state !== undefined) return { folder, fault: state.fault };
  }
  return undefined;
}

/** Undefined: nothing of it is there. */
async function inspect(
  agent: GuestAgent,
  kind: ExtensionKind,
  folder: string,
): Promise<{ fault: string | undefined } | undefined> {
  const state = await readIfThere(agent, kind.pathOf(folder, STATE_NAME));
  const script = await readIfThere(agent, kind.pathOf(folder, kind.scriptName));
  if (state === undefined && script === undefined) return undefined;
  return { fault: await faultOf({ agent, kind, folder }, state, script) };
}

async function faultOf(
  place: { readonly agent: GuestAgent; readonly kind: ExtensionKind; readonly folder: string },
  state: Buffer | undefined,
  script: Buffer | undefined,
): Promise<string | undefined> {
  const { agent, kind, folder } = place;
  if (state === undefined) return `repaired: ${STATE_NAME} was missing; installed again`;
  if (script === undefined) return `repaired: ${kind.scriptName} was missing; installed again`;
  const version = versionIn(state);
  if (version === undefined) return `repaired: ${STATE_NAME} was damaged; installed again`;
  if (version !== kind.version) return `updated from ${version} to ${kind.version}; installed`;
  if (!script.equals(kind.script())) {
    return `repaired: ${kind.scriptName} had been changed; installed again`;
  }
  const open = await kind.openTo(agent, folder);
  return open === undefined ? undefined : `repaired: ${open}; installed again`;
}

function versionIn(state: Buffer): string | undefined {
  try {
    const value = JSON.parse(state.toString('utf8')) as { version?: unknown } | null;
    return typeof value?.version === 'string' ? value.version : undefined;
  } catch {
    return undefined; // The caller says that it is damaged.
  }
}

async function write(
  access: { readonly agent: GuestAgent; readonly kind: ExtensionKind; readonly clock: Clock },
  folder: string,
): Promise<void> {
  const { agent, kind, clock } = access;
  const state = {
    name: kind.name,
    version: kind.version,
    installedBy: 'Holdfast',
    installedAt: new Date(clock.nowMs()).toISOString(),
    files: describeExtension(kind.name === 'VMSnapshot' ? 'windows' : 'linux', folder),
  };
  await kind.makeFolder(agent, folder);
  await agent.writeFile(`${kind.pathOf(folder, kind.scriptName)}.new`, kind.script());
  await agent.writeFile(
    `${kind.pathOf(folder, STATE_NAME)}.new`,
    Buffer.from(`${JSON.stringify(state, undefined, 2)}\n`),
  );
  await kind.putInPlace(agent, folder);
}

async function readIfThere(agent: GuestAgent, path: string): Promise<Buffer | undefined> {
  try {
    return await agent.readFile(path, MAX_FILE_BYTES);
  } catch (error) {
    if (isHoldfastError(error, 'AgentFailed')) return undefined;
    throw error;
  }
}
