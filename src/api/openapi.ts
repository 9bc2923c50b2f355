/**
 * The routes of Holdfast's own provider as an OpenAPI 3.1 document, made of their schemas. Azure's are described by
 * Azure. `docs/openapi.json` is this, which openapi.test.ts compares.
 */
import { z } from 'zod';
import type { Route } from './frame/route.ts';
import { ok, route } from './frame/route.ts';

const OWN = '/holdfast.backup/';

export function openApiDocument(routes: readonly Route[], version: string): object {
  const own = routes.filter(({ path }) => path.toLowerCase().includes(OWN));
  const paths: Record<string, Record<string, object>> = {};
  for (const one of own) {
    paths[one.path] = { ...paths[one.path], [one.method.toLowerCase()]: operation(one) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Holdfast.Backup',
      version,
      description: "What Azure's API has no word for, in its style. Errors: Error.",
    },
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
      schemas: {
        Error: jsonSchema(z.object({ error: z.object({ code: z.string(), message: z.string() }) })),
      },
    },
  };
}

/** Serves the document of all `routes`, and of itself. */
export function openApiRoute(routes: readonly Route[]): Route {
  return route({
    method: 'GET',
    path: '/openapi.json',
    summary: 'Describes what is Holdfast’s own in this API',
    isVersioned: false,
    handle: async ({ service }) => ok(openApiDocument(routes, service.caller.version)),
  });
}

function operation({ method, path, summary, body, isBodyOptional, answer, isVersioned }: Route) {
  const names = Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name!);
  const text = { type: 'string' };
  const inPath = names.map((name) => ({ name, in: 'path', required: true, schema: text }));
  const version = { name: 'api-version', in: 'query', required: true, schema: text };
  const content = (schema: z.ZodType) => ({ 'application/json': { schema: jsonSchema(schema) } });
  const error = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } };
  return {
    operationId: operationId(method, path),
    summary,
    parameters: [...inPath, ...(isVersioned === false ? [] : [version])],
    ...(body === undefined
      ? {}
      : { requestBody: { required: isBodyOptional !== true, content: content(body) } }),
    responses: {
      '2XX': {
        description: 'Done',
        ...(answer === undefined ? {} : { content: content(answer) }),
      },
      '4XX': { description: 'Refused', content: error },
    },
  };
}

/** `PUT …/hosts/{host}` → `put_hosts_host` */
function operationId(method: string, path: string): string {
  const [, own = path] = path.split(/Holdfast\.Backup\//i);
  return [method.toLowerCase(), ...own.replaceAll(/[{}]/g, '').split('/')].join('_');
}

function jsonSchema(schema: z.ZodType): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' });
  return rest;
}
