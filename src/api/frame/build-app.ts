/**
 * Routes as a server. In this order, for each request:
 *
 * ```
 *   host, path, ids ─► rate ─► token ─► route (404, 405) ─► api-version ─► subscription, group ─► body ─► handler
 * ```
 * Nobody without a token learns which routes there are. Whatever is thrown becomes an answer here.
 */
import { randomUUID } from 'node:crypto';
import type { ServerOptions } from 'node:https';
import { Readable } from 'node:stream';
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import { getResourceGroup, type Principal, type ServiceLog } from '#service';
import { bugAnswer, errorAnswer, type ErrorAnswer } from '../http-errors.ts';
import { authenticate } from './authenticate.ts';
import { baseUrlOf, checkPath, clientRequestId, pathOf } from './incoming.ts';
import { checkBody, parseForm, parseJson } from './json-body.ts';
import { parseQuery, type Query } from './query.ts';
import { rateLimiter, type RateLimit } from './rate-limit.ts';
import { Refusal } from './refusal.ts';
import type { ApiAnswer, Method, Route, Site } from './route.ts';

export type AppOptions = Site & {
  readonly routes: readonly Route[];
  readonly log: ServiceLog;
  readonly limits: ApiLimits;
  /** Absent: for `inject` only. */
  readonly https?: ServerOptions;
};

export type ApiLimits = {
  readonly bodyBytes: number;
  readonly headerBytes: number;
  readonly urlLength: number;
  readonly connections: number;
  /** From the first byte of a request to its last. */
  readonly requestMs: number;
  /** Of one account; requests without a token count for their address. */
  readonly perAccount: RateLimit;
  readonly perAddress: RateLimit;
};

export const DEFAULT_LIMITS: ApiLimits = {
  bodyBytes: 1024 * 1024,
  headerBytes: 16 * 1024,
  urlLength: 8 * 1024,
  connections: 512,
  requestMs: 60_000,
  perAccount: { burst: 2000, perSecond: 100 },
  perAddress: { burst: 200, perSecond: 20 },
};

type App = ReturnType<typeof makeFastify>;
type Incoming = FastifyRequest;

const METHODS = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'] as const;
/** Longer than any name that there can be: `VM;iaasvmcontainerv2;<group>;<vm>`. */
const LONGEST_PARAMETER = 512;
const API_VERSION = /^\d{4}-\d{2}-\d{2}(-[a-z0-9.]{1,20})?$/i;

/** What the hooks find out for the handler. */
type Known = {
  readonly startedMs: number;
  readonly requestId: string;
  caller?: Principal;
};

export function buildApp(options: AppOptions): App {
  const app = makeFastify(options);
  const known = new WeakMap<Incoming, Known>();
  addBodyParser(app, options.limits);
  addRoutes(app, options, known);
  admit(app, options, known);
  app.setNotFoundHandler(async () => {
    throw new Refusal('PathNotFound', 'There is nothing at this path.');
  });
  app.setErrorHandler(async (error, request, reply) => {
    const requestId = known.get(request)?.requestId ?? '';
    const answer = ownAnswer(error) ?? bugAnswer(requestId);
    if (answer.status >= 500) options.log.error({ requestId, err: error }, 'a request failed');
    return await send(reply, answer);
  });
  return app;
}

/** Who is let in, and what is written down about it. */
function admit(app: App, options: AppOptions, known: WeakMap<Incoming, Known>): void {
  const { service, limits, log } = options;
  const perAddress = rateLimiter(service.clock, limits.perAddress);
  const perAccount = rateLimiter(service.clock, limits.perAccount);
  app.addHook('onRequest', async (request, reply) => {
    const entry: Known = { startedMs: service.clock.monotonicMs(), requestId: randomUUID() };
    known.set(request, entry);
    reply.headers({
      'x-ms-request-id': entry.requestId,
      'x-ms-correlation-request-id': entry.requestId,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    });
    const clientId = clientRequestId(request.headers);
    if (clientId !== undefined) reply.header('x-ms-client-request-id', clientId);
    checkPath(request.raw.url ?? '/', limits.urlLength);
    const baseUrl = baseUrlOf(request.headers);
    const onFailure = (): void => perAddress(request.ip);
    if (routeOf(request)?.isPublic === true) {
      onFailure();
      return;
    }
    entry.caller = await authenticate(options, { headers: request.headers, baseUrl, onFailure });
    perAccount(entry.caller.clientId);
  });
  app.addHook('onResponse', async (request, reply) => {
    const entry = known.get(request);
    if (entry === undefined) return;
    const { startedMs, requestId, caller } = entry;
    const ms = Math.round(service.clock.monotonicMs() - startedMs);
    const path = pathOf(request.raw.url ?? '/');
    const facts = { method: request.method, path, status: reply.statusCode, ms };
    log.info({ ...facts, requestId, clientId: caller?.clientId, address: request.ip }, 'request');
  });
}

function addRoutes(app: App, options: AppOptions, known: WeakMap<Incoming, Known>): void {
  for (const route of options.routes) {
    app.route({
      method: route.method,
      url: fastifyPath(route.path),
      config: { route },
      handler: async (request, reply) => {
        const caller = known.get(request)?.caller;
        return await send(reply, await answerOf(options, { route, request, caller }));
      },
    });
  }
  for (const [path, allowed] of methodsByPath(options.routes)) {
    const handler = async (): Promise<never> => {
      const Allow = allowed.join(', ');
      throw new Refusal('MethodNotAllowed', `This resource takes ${Allow} only.`, { Allow });
    };
    const others = METHODS.filter((method) => !allowed.some((one) => one === method));
    app.route({ method: others, url: fastifyPath(path), handler });
  }
}

function makeFastify({ limits, https }: AppOptions) {
  const { bodyBytes, headerBytes, requestMs } = limits;
  const app = Fastify({
    logger: false,
    bodyLimit: bodyBytes,
    requestTimeout: requestMs,
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    https: {
      ...https,
      maxHeaderSize: headerBytes,
      headersTimeout: requestMs / 2,
      handshakeTimeout: requestMs / 4,
      // How often Node looks for requests that take too long.
      connectionsCheckingInterval: requestMs / 10,
    },
    routerOptions: {
      caseSensitive: false,
      ignoreTrailingSlash: true,
      ignoreDuplicateSlashes: true,
      maxParamLength: LONGEST_PARAMETER,
    },
    // Before any hook: paths that no route can be looked up for.
    frameworkErrors: (error, _request, reply) => {
      const isTooLong = error.code === 'FST_ERR_MAX_PARAM_LENGTH';
      const refusal = isTooLong
        ? new Refusal('UriTooLong', 'A segment of the path is too long.')
        : new Refusal('InvalidRequestUri', 'The path of the request cannot be decoded.');
      const { status, body } = errorAnswer(refusal)!;
      void (reply as FastifyReply).code(status).send(body);
    },
  });
  app.server.maxConnections = limits.connections;
  return app;
}

function addBodyParser(app: App, { bodyBytes }: ApiLimits): void {
  app.removeAllContentTypeParsers();
  // What a body is meant as, its route knows.
  app.addContentTypeParser(
    '*',
    { parseAs: 'buffer', bodyLimit: bodyBytes },
    (_request, body, done) => done(null, body),
  );
}

/** `/vaults/{vault}` → `/vaults/:vault` */
function fastifyPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}

function methodsByPath(routes: readonly Route[]): ReadonlyMap<string, readonly Method[]> {
  const methods = new Map<string, Method[]>();
  for (const { path, method } of routes) {
    const key = path.toLowerCase().replaceAll(/\{\w+\}/g, '{_}');
    methods.set(key, [...(methods.get(key) ?? []), method]);
  }
  return methods;
}

function routeOf(request: Incoming): Route | undefined {
  return (request.routeOptions.config as { readonly route?: Route }).route;
}

async function answerOf(
  site: Site,
  { route, request, caller }: { route: Route; request: Incoming; caller: Principal | undefined },
): Promise<ApiAnswer> {
  const url = request.raw.url ?? '/';
  const query = parseQuery(url.includes('?') ? url.slice(url.indexOf('?') + 1) : '');
  const isVersioned = route.isVersioned ?? route.isPublic !== true;
  const apiVersion = isVersioned ? requiredVersion(query) : '';
  const params = request.params as Readonly<Record<string, string>>;
  await checkScope(site, params, route);
  const { service } = site;
  return await route.handle({
    service: caller === undefined ? service : { ...service, actor: caller.clientId },
    access: site.access,
    hasManagedIdentity: site.hasManagedIdentity,
    params,
    query,
    apiVersion,
    caller,
    body: bodyOf(route, request),
    headers: request.headers,
    baseUrl: baseUrlOf(request.headers),
    path: pathOf(url),
    address: request.ip,
  });
}

function requiredVersion(query: Query): string {
  const version = query.get('api-version');
  if (version === undefined || version === '') {
    throw new Refusal(
      'MissingApiVersionParameter',
      'The api-version query parameter (?api-version=) is required for all requests.',
    );
  }
  if (API_VERSION.test(version)) return version;
  throw new Refusal(
    'InvalidApiVersionParameter',
    `The api-version '${version.slice(0, 40)}' is invalid: it is a date, such as 2023-06-01.`,
  );
}

/** @throws {Refusal} `SubscriptionNotFound`; {HoldfastError} `ResourceGroupNotFound` for what lies in a group. */
async function checkScope(
  { access, service }: Site,
  { subscription, group }: Readonly<Record<string, string>>,
  { path }: Route,
): Promise<void> {
  if (subscription !== undefined && subscription.toLowerCase() !== access.subscriptionId) {
    throw new Refusal(
      'SubscriptionNotFound',
      `The subscription '${subscription.slice(0, 60)}' could not be found.`,
    );
  }
  const isInGroup = path.includes('{group}/');
  if (isInGroup && group !== undefined) await getResourceGroup(service.catalogue.read, group);
}

function bodyOf(route: Route, request: Incoming): unknown {
  if (route.body === undefined) return undefined;
  const bytes = request.body instanceof Buffer ? request.body : Buffer.alloc(0);
  const isForm = route.bodyKind === 'form';
  const [type = ''] = (request.headers['content-type'] ?? '').toLowerCase().split(';');
  const expected = isForm ? 'application/x-www-form-urlencoded' : 'application/json';
  if (bytes.length > 0 && type.trim() !== expected) {
    throw new Refusal('UnsupportedMediaType', `The content type must be ${expected}.`);
  }
  const value = isForm ? parseForm(bytes) : parseJson(bytes);
  if (value === undefined && route.isBodyOptional === true) return undefined;
  return checkBody(route.body, value);
}

/** Errors of ours, and those of Fastify that a client caused. */
function ownAnswer(error: unknown): ErrorAnswer | undefined {
  const answer = errorAnswer(error);
  if (answer !== undefined) return answer;
  const { statusCode, message } = error as {
    readonly statusCode?: number;
    readonly message: string;
  };
  if (statusCode === undefined || statusCode >= 500) return undefined;
  const code = statusCode === 413 ? 'RequestTooLarge' : 'InvalidRequestContent';
  return { ...errorAnswer(new Refusal(code, message))! };
}

async function send(
  reply: FastifyReply,
  { status, body, stream, headers = {} }: ApiAnswer,
): Promise<FastifyReply> {
  for (const [name, value] of Object.entries(headers)) reply.header(name, value);
  reply.code(status);
  if (stream !== undefined) {
    reply.header('content-type', stream.contentType);
    return await reply.send(Readable.from(stream.parts));
  }
  if (body === undefined) return await reply.send();
  reply.header('content-type', 'application/json; charset=utf-8');
  return await reply.send(JSON.stringify(body));
}
