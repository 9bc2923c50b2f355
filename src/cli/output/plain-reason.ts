/** What the system says of a file ("ENOENT: no such file or directory, stat 'x'"), in plain words. */
import { accessSync, constants, existsSync } from 'node:fs';
import { dirname } from 'node:path';

const RAW = /(?<code>E[A-Z]+): [^,]*, (?<call>\w+) '(?<path>[^']*)'(?: -> '[^']*')?/;
/** What stands before it where that names the same file. */
const ATTEMPT = /^cannot (?:find|open) "(?<path>[^"]*)": /;
/** Calls that write into the folder of the file. */
const MAKING: ReadonlySet<string> = new Set(['mkdir', 'link', 'rename', 'unlink', 'copyfile']);

/** Calls on folders only. */
const FOLDER_CALLS: ReadonlySet<string> = new Set(['scandir', 'opendir', 'statfs', 'chdir']);

/** The message with such a reason replaced; unchanged if it has none, or one that says enough. */
export function plainly(message: string): string {
  const { code, call, path } = RAW.exec(message)?.groups ?? {};
  if (code === undefined || call === undefined || path === undefined) return message;
  const reason = reasonOf(code, { call, path });
  if (reason === undefined) return message;
  const plain = message.replace(RAW, () => reason);
  return ATTEMPT.exec(plain)?.groups?.['path'] === path ? plain.replace(ATTEMPT, '') : plain;
}

function reasonOf(
  code: string,
  { call, path }: { readonly call: string; readonly path: string },
): string | undefined {
  const folder = dirname(path);
  switch (code) {
    case 'ENOENT':
      if (FOLDER_CALLS.has(call)) return `there is no folder "${path}"`;
      return existsSync(folder) ? `there is no file "${path}"` : `there is no folder "${folder}"`;
    case 'EACCES':
      if (MAKING.has(call)) return `no permission to write in "${folder}"`;
      return `no permission to ${call === 'open' && isReadable(path) ? 'write' : 'read'} "${path}"`;
    case 'EISDIR':
      return `"${path}" is a folder`;
    case 'ENOTDIR':
      return `"${folder}" is no folder`;
    default:
      return undefined;
  }
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
