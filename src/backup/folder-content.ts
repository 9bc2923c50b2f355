/**
 * What is in a folder that shall become a repository. `init` writes a key slot, then log entry 0, then
 * `repository.json`; nobody can open the repository before the entry, so what lies there without both is nobody's
 * data. A key slot alone is kept all the same: somebody may keep a copy of his keys there.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

export type FolderContent =
  | { readonly kind: 'absent' }
  /** Nothing, but for what an `init` leaves that was interrupted before its key slot. */
  | { readonly kind: 'empty' }
  /** All of a new repository but `repository.json`. */
  | { readonly kind: 'begun' }
  | { readonly kind: 'other'; readonly what: string };

/** What a fresh file system has in its root, and what trying the store leaves if it is killed. */
const NOT_CONTENT = /^(lost\+found|\.?probe-[0-9a-f]{16}(-link)?)$/;
/** By folder, what `init` makes there. */
const OF_INIT: Readonly<Record<string, RegExp>> = {
  '.unfinished':
    /^(keys\+[0-9a-f]{32}|log\+0{20}|repository\.json|probe-[0-9a-f]{16})~[0-9a-f]{16}$/,
  keys: /^[0-9a-f]{32}$/,
  log: /^0{20}$/,
};

export async function folderContent(path: string): Promise<FolderContent> {
  let names: string[];
  try {
    names = (await readdir(path)).filter((name) => !NOT_CONTENT.test(name));
  } catch {
    return { kind: 'absent' }; // Or no folder, or not readable: who opens it says so.
  }
  if (names.includes('repository.json')) return other('there is a repository');
  const inside = new Map<string, readonly string[]>();
  for (const name of names) {
    const files = await madeByInit(path, name);
    if (files === undefined) return other(`there are files already (${shortList(names)})`);
    inside.set(name, files);
  }
  const hasSlot = isFilled(inside.get('keys'));
  const hasEntry = isFilled(inside.get('log'));
  if (hasSlot && hasEntry) return { kind: 'begun' };
  if (hasEntry) return other('there is a log without its keys');
  return hasSlot ? other(LONE_SLOT) : { kind: 'empty' };
}

const LONE_SLOT =
  'there is a key slot without a repository, of an interrupted "init" (then remove keys/) or a copy of keys (then keep it),';

/** The files in the folder `name`; undefined: not all of them can be of an `init`. */
async function madeByInit(path: string, name: string): Promise<readonly string[] | undefined> {
  const made = OF_INIT[name];
  if (made === undefined) return undefined;
  const files = await namesIn(join(path, name));
  return files?.every((file) => made.test(file)) === true ? files : undefined;
}

/** undefined: not a folder. */
async function namesIn(path: string): Promise<readonly string[] | undefined> {
  try {
    return await readdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw error;
  }
}

function isFilled(files: readonly string[] = []): boolean {
  return files.length > 0;
}

function other(what: string): FolderContent {
  return { kind: 'other', what };
}

function shortList(names: readonly string[]): string {
  return `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}`;
}
