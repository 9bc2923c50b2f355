/** What is wrong with a policy, all of it at once: one error whose message names each field. */
import { HoldfastError, type ErrorCode } from '#base';

export type PolicyFault = {
  readonly code: ErrorCode;
  /** Where: `retention.daily.duration`. */
  readonly field: string;
  /** What it was. */
  readonly found: string;
  /** What it may be. */
  readonly allowed: string;
};

/** More are counted only: a hostile policy makes no endless message. */
const FAULTS_SHOWN = 12;
const FOUND_LENGTH = 60;

/** A value as a message shows it. */
export function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  const text = (JSON.stringify(value) as string | undefined) ?? typeof value;
  return text.length <= FOUND_LENGTH ? text : `${text.slice(0, FOUND_LENGTH)}…`;
}

/** A list of words as a message shows it. */
export function words(allowed: readonly (string | number)[]): string {
  return allowed.join(', ');
}

/** @throws {HoldfastError} with the code of the first fault, if there is one. */
export function throwFaults(faults: readonly PolicyFault[]): void {
  const [first] = faults;
  if (first === undefined) return;
  const lines = faults
    .slice(0, FAULTS_SHOWN)
    .map(({ field, found, allowed }) => `${field} is ${found}, allowed: ${allowed}`);
  const more = faults.length - lines.length;
  if (more > 0) lines.push(`and ${more} more`);
  throw new HoldfastError(first.code, `the policy is not valid: ${lines.join('; ')}`, {
    details: { field: first.field, faults: faults.length },
  });
}
