/**
 * The architecture, as a test: which room may import which, and only through its front door
 * (`#room`, its index.ts). The table is in rooms.ts.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { ROOMS } from './rooms.ts';

/** The specifiers of all imports and re-exports of a source text: static, dynamic, and worker files. */
function importsOf(source: string): string[] {
  const patterns = [
    /(?:^|\s)(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/gm,
    /(?:new URL|import\.meta\.resolve)\(\s*['"]([^'"]+)['"]/gm,
  ];
  return patterns.flatMap((pattern) =>
    Array.from(source.matchAll(pattern), ([, specifier]) => specifier!),
  );
}

function violationsIn(file: string): string[] {
  const room = relative('src', file).split('/')[0]!;
  const allowed = ROOMS[room];
  if (allowed === undefined) return [`${file}: room "${room}" is not in the table`];

  return importsOf(readFileSync(file, 'utf8')).flatMap((specifier) => {
    if (specifier.startsWith('#') && !allowed.includes(specifier.slice(1))) {
      return [`${file}: ${room} may not import ${specifier}`];
    }
    if (specifier.startsWith('.') && !join(dirname(file), specifier).startsWith(`src/${room}/`)) {
      return [`${file}: ${specifier} enters another room by the back door`];
    }
    return [];
  });
}

test('rooms import only the rooms below them, through their front door', () => {
  assert.deepEqual(globSync('src/*/**/*.ts').flatMap(violationsIn), []);
});

test('the table is in order: every room imports only rooms above it in the table', () => {
  const order = Object.keys(ROOMS);
  for (const [room, allowed] of Object.entries(ROOMS)) {
    for (const lower of allowed)
      assert.ok(order.indexOf(lower) < order.indexOf(room), `${room} -> ${lower}`);
  }
});
