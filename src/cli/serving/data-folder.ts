/** Which folder is the service's: `--data`, else `HOLDFAST_DATA`, else that of `npm start`. */
import { resolve } from 'node:path';
import type { Surroundings } from '../surroundings.ts';
import { UsageError } from '../usage-error.ts';

/** @returns an absolute path. */
export function dataFolderOf(
  { data }: { readonly data?: string },
  { environment }: Surroundings,
): string {
  if (data === '') throw new UsageError('--data is empty');
  const { data: known, usualData } = environment.service;
  const folder = data ?? (known === '' ? undefined : known) ?? usualData;
  if (folder !== undefined) return resolve(folder);
  throw new UsageError('give --data the folder of the service, or set HOLDFAST_DATA');
}
