/** A policy as the catalogue holds it, and as a document of the repository. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { NewRow } from '../catalogue/schema.ts';
import { nameKey } from '../names.ts';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { defaultPolicy, spreadDefaultTime } from '../policy/default-policy.ts';
import { policyToJson } from '../policy/policy-json.ts';
import type { VaultDocument } from '../repositories/change-vault.ts';

const DEFAULT_POLICY = 'DefaultPolicy';

const DOCUMENT = z.strictObject({
  version: z.literal(1),
  name: z.string(),
  body: z.string(),
  createdAt: z.number(),
  changedAt: z.number(),
});
const PREFIX = 'policy-';

export function newDefaultPolicy(of: {
  readonly vaultId: string;
  readonly now: number;
  /** It runs where none of them does, if there is room (M38); absent: there are none. */
  readonly others?: readonly BackupPolicy[];
}): NewRow<'policies'> {
  const { others = [], ...rest } = of;
  const body = policyToJson(defaultPolicy(spreadDefaultTime(others)));
  return newPolicyRow({ ...rest, name: DEFAULT_POLICY, body });
}

export function newPolicyRow(of: {
  readonly vaultId: string;
  readonly name: string;
  /** policy/policy-json.ts */
  readonly body: string;
  readonly now: number;
}): NewRow<'policies'> {
  const { vaultId, name, body, now } = of;
  const times = { createdAt: now, changedAt: now };
  return { id: randomUUID(), vaultId, key: nameKey(name), name, body, revision: 1, ...times };
}

export function policyDocument(policy: NewRow<'policies'>): VaultDocument {
  const { id, name, body, createdAt, changedAt } = policy;
  return { id: PREFIX + id, value: { version: 1, name, body, createdAt, changedAt } };
}

export function policyGone(id: string): VaultDocument {
  return { id: PREFIX + id, value: undefined };
}

/** @returns undefined if the document is no policy. */
export function policyIdOf(documentId: string): string | undefined {
  return documentId.startsWith(PREFIX) ? documentId.slice(PREFIX.length) : undefined;
}

export function policyFromDocument(of: {
  readonly vaultId: string;
  readonly id: string;
  readonly value: unknown;
}): NewRow<'policies'> {
  const { vaultId, id, value } = of;
  const { version: _, name, ...rest } = DOCUMENT.parse(value);
  return { id, vaultId, key: nameKey(name), name, revision: 1, ...rest };
}
