/** The file of `--changed-only-hint`: JSON `[{"offset": bytes, "length": bytes}, …]`. */
import { readFile } from 'node:fs/promises';
import { HoldfastError } from '#base';

export type ChangedExtent = { readonly offset: number; readonly length: number };

/**
 * The extents, in the order of the file.
 *
 * @throws {HoldfastError} `ArgumentInvalid` naming the file, the entry (from 0) and what is wrong with it.
 */
export async function readHintFile(path: string): Promise<ChangedExtent[]> {
  const value = parse(path, await readText(path));
  if (!Array.isArray(value)) {
    throw invalid(path, 'it is not a JSON array of {"offset", "length"}');
  }
  return value.map((entry: unknown, index) => {
    const reason = complaintOf(entry);
    if (reason !== undefined) throw invalid(path, `entry ${index}: ${reason}`);
    const { offset, length } = entry as ChangedExtent;
    return { offset, length };
  });
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'there is no such file' : message;
    throw new HoldfastError('ArgumentInvalid', `cannot read the hint "${path}": ${reason}`, {
      cause,
    });
  }
}

function parse(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalid(path, `it is not JSON: ${(cause as Error).message}`);
  }
}

function complaintOf(entry: unknown): string | undefined {
  if (typeof entry !== 'object' || entry === null) return 'it is not {"offset", "length"}';
  const { offset, length } = entry as Readonly<Record<string, unknown>>;
  if (!isSize(offset)) return `"offset" is not a whole number of bytes from 0`;
  if (!isSize(length)) return `"length" is not a whole number of bytes from 0`;
  return isSize(offset + length) ? undefined : 'it ends beyond any disk';
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function invalid(path: string, reason: string): HoldfastError {
  return new HoldfastError('ArgumentInvalid', `the hint "${path}" cannot be used: ${reason}`, {
    details: { path },
  });
}
