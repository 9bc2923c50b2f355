/** A consistency group as the catalogue holds it, and as a document of the repository. */
import { z } from 'zod';
import type { Row } from '../catalogue/schema.ts';
import { nameKey } from '../names.ts';
import type { VaultDocument } from '../repositories/change-vault.ts';

const MEMBERS = z.array(z.string());

const DOCUMENT = z.strictObject({
  version: z.literal(1),
  name: z.string(),
  members: MEMBERS,
  policyId: z.string().nullable(),
  createdAt: z.number(),
  changedAt: z.number(),
});
const PREFIX = 'group-';

export type GroupRow = Row<'consistencyGroups'>;

/** Ids of its items, in the order in which they were given. */
export function membersOf({ members }: Pick<GroupRow, 'members'>): readonly string[] {
  return MEMBERS.parse(JSON.parse(members));
}

export function groupDocument(group: GroupRow): VaultDocument {
  const { id, name, policyId, createdAt, changedAt } = group;
  const value = { version: 1, name, members: membersOf(group), policyId, createdAt, changedAt };
  return { id: PREFIX + id, value };
}

export function groupGone(id: string): VaultDocument {
  return { id: PREFIX + id, value: undefined };
}

/** @returns undefined if the document is no group. */
export function groupIdOf(documentId: string): string | undefined {
  return documentId.startsWith(PREFIX) ? documentId.slice(PREFIX.length) : undefined;
}

export function groupFromDocument(of: {
  readonly vaultId: string;
  readonly id: string;
  readonly value: unknown;
}): GroupRow {
  const { vaultId, id, value } = of;
  const { version: _, name, members, ...rest } = DOCUMENT.parse(value);
  const runs = { lastRunAt: null, nextRunAt: null, revision: 1 };
  return {
    id,
    vaultId,
    key: nameKey(name),
    name,
    members: JSON.stringify(members),
    ...rest,
    ...runs,
  };
}
