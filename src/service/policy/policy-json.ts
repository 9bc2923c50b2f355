/**
 * A policy as the catalogue and the repository's documents keep it: JSON with a version of its own, fields in
 * one order, so that equal policies give equal text. Reading checks the shape only: a policy that a later rule
 * forbids stays readable, and is refused at its next edit (R4).
 */
import { HoldfastError } from '#base';
import type { BackupPolicy } from './backup-policy.ts';
import { shapeFaults, policyShape } from './policy-shape.ts';

const VERSION = 1;

export function policyToJson(policy: BackupPolicy): string {
  // zod gives the fields in the order of the shape.
  return JSON.stringify({ version: VERSION, ...policyShape.parse(policy) });
}

/**
 * @throws {HoldfastError} `FormatUnsupported` for another version; `ObjectDamaged` if it is no policy.
 */
export function policyFromJson(text: string): BackupPolicy {
  const { version, ...policy } = parse(text);
  if (typeof version !== 'number') throw damaged('it carries no version');
  if (version !== VERSION) {
    throw new HoldfastError(
      'FormatUnsupported',
      `a policy of version ${version}, this Holdfast reads version ${VERSION}: use a newer one`,
      { details: { version } },
    );
  }
  const shape = policyShape.safeParse(policy);
  if (shape.success) return shape.data;
  const [first] = shapeFaults(shape.error, policy);
  throw damaged(first === undefined ? 'its shape' : `${first.field} is ${first.found}`);
}

function parse(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged('it is not JSON', error);
  }
  if (typeof value !== 'object' || value === null) throw damaged('it is not an object');
  return value as Record<string, unknown>;
}

function damaged(why: string, cause?: unknown): HoldfastError {
  return new HoldfastError('ObjectDamaged', `a stored policy is damaged: ${why}`, { cause });
}
