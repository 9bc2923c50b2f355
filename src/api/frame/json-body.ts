/**
 * Bodies of requests, read strictly: UTF-8, JSON of bounded depth, nothing that could become a prototype, no text
 * that a database or a file name would change (NUL, half a surrogate pair).
 */
import type { z } from 'zod';
import { Refusal } from './refusal.ts';

const MOST_DEPTH = 32;
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);
const MOST_FAULTS = 5;

/** @returns undefined for an empty body. @throws {Refusal} `InvalidRequestContent` */
export function parseJson(bytes: Buffer): unknown {
  const text = decode(bytes);
  if (text.trim() === '') return undefined;
  checkDepth(text);
  try {
    return JSON.parse(text, checkEntry) as unknown;
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw invalid('it is not JSON');
  }
}

/** @returns the fields as texts. @throws {Refusal} `InvalidRequestContent` */
export function parseForm(bytes: Buffer): Readonly<Record<string, string>> {
  const fields = [...new URLSearchParams(decode(bytes))];
  for (const [name, value] of fields) checkEntry(name, value);
  return Object.fromEntries(fields);
}

/**
 * What the schema makes of it.
 *
 * @throws {Refusal} `InvalidRequestContent` naming the fields that are wrong.
 */
export function checkBody<Body>(schema: z.ZodType<Body>, value: unknown): Body {
  if (value === undefined) throw invalid('there is none');
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.slice(0, MOST_FAULTS).map(({ path, message }) => {
    const field = path.map(String).join('.').slice(0, 120);
    return field === '' ? message : `'${field}': ${message}`;
  });
  throw invalid(faults.join('; '));
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid('it is not UTF-8');
  }
}

/** Before anything that calls itself for what is inside. */
function checkDepth(text: string): void {
  let depth = 0;
  let isInText = false;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (isInText) {
      if (letter === '\\') at += 1;
      else if (letter === '"') isInText = false;
    } else if (letter === '"') isInText = true;
    else if (letter === '{' || letter === '[') depth += 1;
    else if (letter === '}' || letter === ']') depth -= 1;
    if (depth > MOST_DEPTH) throw invalid(`it is nested deeper than ${MOST_DEPTH} levels`);
  }
}

function checkEntry(key: string, value: unknown): unknown {
  if (FORBIDDEN_KEYS.has(key)) throw invalid(`it has a field '${key}'`);
  for (const text of [key, value]) {
    if (typeof text === 'string' && (!text.isWellFormed() || text.includes('\0'))) {
      throw invalid('it has a text with NUL or half a surrogate pair');
    }
  }
  return value;
}

function invalid(why: string): Refusal {
  return new Refusal('InvalidRequestContent', `The request content was invalid: ${why}.`);
}
