/** The query of a request: names without regard to case, each once. */
import { hasControlCharacters } from './control-characters.ts';
import { Refusal } from './refusal.ts';

export type Query = { readonly get: (name: string) => string | undefined };

const MOST_PARAMETERS = 32;

/** @throws {Refusal} `InvalidQueryParameter` for one that is given twice, for control characters, for too many. */
export function parseQuery(text: string): Query {
  const values = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(text)) {
    const key = name.toLowerCase();
    if (values.has(key) || hasControlCharacters(value) || values.size === MOST_PARAMETERS) {
      throw new Refusal(
        'InvalidQueryParameter',
        `The query parameter '${name.slice(0, 60)}' is given twice, has control characters, or is one too many.`,
      );
    }
    values.set(key, value);
  }
  return { get: (name) => values.get(name.toLowerCase()) };
}
