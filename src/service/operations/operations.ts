/**
 * Operations: requests that were accepted and are asked about later. One is only the acceptance: what goes wrong
 * afterwards is in its job.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { HoldfastError } from '#base';
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import type { RecordParts } from '../record-parts.ts';

const FAILURE = z.strictObject({ code: z.string(), message: z.string() });

type OperationStatus = 'InProgress' | 'Succeeded' | 'Failed';

export type Operation = {
  readonly id: string;
  readonly vaultId: string | undefined;
  /** What was asked for: `Backup`, `DeleteItem`; whoever answers for its result knows it. */
  readonly kind: string;
  /** What it acts on, in the words of `kind`. */
  readonly target: string;
  readonly status: OperationStatus;
  readonly jobId: string | undefined;
  readonly failure: Readonly<z.infer<typeof FAILURE>> | undefined;
  readonly createdAt: number;
  readonly endedAt: number | undefined;
};

export type NewOperation = {
  readonly vaultId?: string | undefined;
  readonly kind: string;
  readonly target: string;
  readonly jobId?: string | undefined;
};

type OperationEnd = {
  readonly jobId?: string | undefined;
  readonly failure?: NonNullable<Operation['failure']> | undefined;
};

/** One that goes on; `finishOperation` ends it. @returns its id. */
export async function startOperation(
  parts: Pick<RecordParts, 'clock'>,
  change: CatalogueChange,
  operation: NewOperation,
): Promise<string> {
  const { vaultId = null, kind, target, jobId = null } = operation;
  const id = randomUUID();
  const createdAt = parts.clock.nowMs();
  const row = { id, vaultId, kind, target, jobId, failure: null, createdAt };
  await change
    .insertInto('operations')
    .values({ ...row, status: 'InProgress', endedAt: null })
    .execute();
  return id;
}

/** One that is done already: accepting was all there was to do. @returns its id. */
export async function addOperation(
  parts: Pick<RecordParts, 'clock'>,
  change: CatalogueChange,
  operation: NewOperation,
): Promise<string> {
  const id = await startOperation(parts, change, operation);
  await finishOperation(parts, change, { id });
  return id;
}

/** Ends it, once: what has ended stays as it is. */
export async function finishOperation(
  { clock }: Pick<RecordParts, 'clock'>,
  change: CatalogueChange,
  { id, jobId, failure }: OperationEnd & { readonly id: string },
): Promise<void> {
  await change
    .updateTable('operations')
    .set({
      status: failure === undefined ? 'Succeeded' : 'Failed',
      endedAt: clock.nowMs(),
      ...(jobId === undefined ? {} : { jobId }),
      ...(failure === undefined ? {} : { failure: JSON.stringify(FAILURE.parse(failure)) }),
    })
    .where('id', '=', id)
    .where('endedAt', 'is', null)
    .execute();
}

/** @throws {HoldfastError} `OperationNotFound`; one of another vault is not there. */
export async function getOperation(
  reader: CatalogueReader,
  { vaultId, id }: { readonly vaultId: string | undefined; readonly id: string },
): Promise<Operation> {
  const query = reader.selectFrom('operations').selectAll().where('id', '=', id.toLowerCase());
  const row = await query.executeTakeFirst();
  if (row === undefined || (row.vaultId ?? undefined) !== vaultId) {
    throw new HoldfastError('OperationNotFound', `There is no operation '${id}'.`);
  }
  return {
    id: row.id,
    vaultId: row.vaultId ?? undefined,
    kind: row.kind,
    target: row.target,
    status: row.status as OperationStatus,
    jobId: row.jobId ?? undefined,
    failure: row.failure === null ? undefined : operationFailureFromJson(row.failure),
    createdAt: row.createdAt,
    endedAt: row.endedAt ?? undefined,
  };
}

export function operationFailureFromJson(json: string): NonNullable<Operation['failure']> {
  return FAILURE.parse(JSON.parse(json));
}
