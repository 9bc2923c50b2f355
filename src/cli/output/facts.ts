/** What is known of one thing: a name and a value a line. */
import { formatTable, left } from './table.ts';

/** Those without a value are left out. */
export function formatFacts(facts: readonly (readonly [string, string | undefined])[]): string {
  const known = facts.filter(([, value]) => value !== undefined && value !== '');
  const [, ...lines] = formatTable(
    [left(''), left('')],
    known.map(([name, value]) => [`${name}:`, value ?? '']),
  ).split('\n');
  return lines.join('\n');
}
