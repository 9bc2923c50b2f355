/** Bodies for property tests: nearly right ones, made of a route's schema, with hostile values at every place. */
import fc from 'fast-check';
import { z } from 'zod';

type JsonSchema = {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
};

/** Texts that have broken servers. None is an absolute path: some bodies name folders, which are made. */
const HOSTILE_TEXTS = [
  '',
  '.',
  '..',
  '../../../../etc/passwd',
  'a/../../b',
  '\u0000',
  'name\u0000.txt',
  '\ud800',
  '\u202e',
  "'; drop table vaults; --",
  '%2e%2e%2f',
  '__proto__',
  'constructor',
  'images:',
  'qmp:',
  '${7*7}',
  'x'.repeat(5000),
  '💥'.repeat(40),
  '2026-02-31T25:61:00Z',
  '2021-12-17T02:30:00Z',
  '0001-01-01T00:00:00Z',
  '+275760-09-13T00:00:00Z',
  'NaN',
  '1e999',
];

export const hostileText = fc.oneof(
  fc.constantFrom(...HOSTILE_TEXTS),
  fc.string({ unit: 'binary', maxLength: 40 }).map((text) => text.replace(/^\/+/, '')),
);

const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  fc.constantFrom(null, true, [], {}, [[[]]], -1, 0, 0.5, 2 ** 53, 1e308, -(2 ** 31), 99_999),
  fc.integer(),
  fc.array(hostileText, { maxLength: 4 }),
  fc.dictionary(fc.string({ maxLength: 12 }), fc.integer(), { maxKeys: 4 }),
);

/** @param schema undefined: a route that takes no body. */
export function arbitraryBody(schema: z.ZodType | undefined): fc.Arbitrary<unknown> {
  if (schema === undefined) return fc.oneof(fc.constant(undefined), hostileValue);
  const json = z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' }) as JsonSchema;
  return fc.oneof({ weight: 9, arbitrary: ofSchema(json) }, { weight: 1, arbitrary: hostileValue });
}

function ofSchema(schema: JsonSchema): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 12, arbitrary: rightOf(schema) },
    { weight: 1, arbitrary: hostileValue },
  );
}

function rightOf(schema: JsonSchema): fc.Arbitrary<unknown> {
  const choices = schema.anyOf ?? schema.oneOf;
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (choices !== undefined) return fc.oneof(...choices.map(ofSchema));
  return ofType(schema);
}

function ofType({ type, properties = {}, items }: JsonSchema): fc.Arbitrary<unknown> {
  switch (type ?? '') {
    case 'object': {
      const fields = Object.entries(properties).map(([name, one]) => [name, ofSchema(one)]);
      const model = Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>;
      return fc.record(model, { requiredKeys: [] });
    }
    case 'array':
      return fc.array(items === undefined ? hostileValue : ofSchema(items), { maxLength: 3 });
    case 'integer':
    case 'number':
      return fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer());
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    default:
      return hostileText;
  }
}
