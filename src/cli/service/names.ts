/**
 * Resources by the names that people give them: `NAME` where that is unique, else `GROUP/NAME`, whatever the case.
 * Errors name the candidates.
 */
import { HoldfastError } from '#base';
import { UsageError } from '../usage-error.ts';

export type Named = { readonly group: string; readonly name: string };

/** `/subscriptions/…/resourceGroups/G/providers/T/T/N`, anything may follow. */
export function namedBy(id: string | undefined): Named {
  const found = /\/resourceGroups\/([^/]+)\/providers\/[^/]+\/[^/]+\/([^/]+)/i.exec(id ?? '');
  return { group: found?.[1] ?? '', name: found?.[2] ?? '' };
}

/** Of Holdfast's own provider, beside what Azure's has. */
export function ownPath(id: string): string {
  return id.replace(/Microsoft\.RecoveryServices/i, 'Holdfast.Backup');
}

/** What has no group is called by its name alone. */
export function fullName({ group, name }: Named): string {
  return group === '' ? name : `${group}/${name}`;
}

/**
 * @param what for messages: `VM`, `vault`.
 * @throws {HoldfastError} `ResourceNotFound`, `NameAmbiguous`.
 */
export function findNamed<Entry extends Named>(
  entries: readonly Entry[],
  text: string,
  what: string,
): Entry {
  const slash = text.indexOf('/');
  const [group, name] =
    slash < 0 ? [undefined, text] : [text.slice(0, slash), text.slice(slash + 1)];
  const matching = entries.filter(
    (entry) => isSame(entry.name, name) && (group === undefined || isSame(entry.group, group)),
  );
  const [found] = matching;
  if (matching.length === 1 && found !== undefined) return found;
  if (matching.length > 1) {
    throw new HoldfastError(
      'NameAmbiguous',
      `there are several ${what}s ${text}: write ${matching.map(fullName).join(' or ')}`,
    );
  }
  throw notFound(`there is no ${what} ${text}`, what, entries.map(fullName));
}

/**
 * Names that become parts of ids. What else a name may be the service knows.
 *
 * @param names by the option where each was typed: `as`; undefined: it was not given.
 * @throws {UsageError}
 */
export function requirePlain(names: Readonly<Record<string, string | undefined>>): void {
  for (const [option, name] of Object.entries(names)) {
    if (name === undefined || (name !== '' && !name.includes('/'))) continue;
    throw new UsageError(`--${option} "${name}" is not a name: write one without a slash`);
  }
}

/**
 * By the id, or by how it begins, whatever the case, where only one does.
 *
 * @param what for messages: `job`.
 * @returns undefined: none begins so.
 * @throws {HoldfastError} `NameAmbiguous`.
 */
export function findById<Entry extends { readonly id: string }>(
  entries: readonly Entry[],
  text: string,
  what: string,
): Entry | undefined {
  const wanted = text.toLowerCase();
  if (wanted === '') return undefined;
  const matching = entries.filter(({ id }) => id.toLowerCase().startsWith(wanted));
  const exact = matching.find(({ id }) => id.toLowerCase() === wanted);
  if (exact !== undefined || matching.length < 2) return exact ?? matching[0];
  const ids = matching.slice(0, MOST_NAMED).map(({ id }) => id);
  const more = matching.length > MOST_NAMED ? ` and ${matching.length - MOST_NAMED} more` : '';
  throw new HoldfastError(
    'NameAmbiguous',
    `several ${what}s begin with ${text}: ${ids.join(', ')}${more}`,
  );
}

/** @param known what there is, to be named where it is little. */
export function notFound(message: string, what: string, known: readonly string[]): HoldfastError {
  return new HoldfastError('ResourceNotFound', `${message}; ${knownText(what, known)}`);
}

const MOST_NAMED = 8;

function knownText(what: string, known: readonly string[]): string {
  if (known.length === 0) return `there is no ${what} at all`;
  const shown = known.slice(0, MOST_NAMED).join(', ');
  const more = known.length > MOST_NAMED ? ` and ${known.length - MOST_NAMED} more` : '';
  return `there ${known.length === 1 ? 'is' : 'are'} ${shown}${more}`;
}

export function isSame(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}
