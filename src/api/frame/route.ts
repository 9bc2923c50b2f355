/**
 * A route: what the frame needs to know to listen to it, to check what comes, and to describe it. Resource types
 * make theirs with `route` and list them in routes.ts.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { z } from 'zod';
import type { Access, Principal, Service } from '#service';
import type { Query } from './query.ts';

export type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE' | 'HEAD';

/** `/vaults/{vault}` → `{ vault: string }` */
type ParamsOf<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? { readonly [Key in Name]: string } & ParamsOf<Rest>
  : unknown;

/** What all handlers work with. */
export type Site = {
  readonly service: Service;
  readonly access: Access;
  /** Whether processes of this machine may get tokens as Azure's managed identities do. */
  readonly hasManagedIdentity: boolean;
};

export type ApiRequest<Params, Body> = Site & {
  /** From the path, decoded, as the client wrote them. */
  readonly params: Params;
  /** As the route's schema gives it; undefined without one. */
  readonly body: Body;
  readonly query: Query;
  readonly headers: IncomingHttpHeaders;
  /** As the client reached us: `https://localhost:8443`. */
  readonly baseUrl: string;
  /** The path as the client wrote it, without the query. */
  readonly path: string;
  /** Empty on routes that need none. */
  readonly apiVersion: string;
  /** Where it came from. */
  readonly address: string;
  /** Undefined on public routes. */
  readonly caller: Principal | undefined;
};

export type ApiAnswer = {
  readonly status: number;
  /** JSON; absent: no body. */
  readonly body?: unknown;
  /** Instead of `body`: texts as they come, until they end or the client is gone. */
  readonly stream?: { readonly contentType: string; readonly parts: AsyncIterable<string> };
  readonly headers?: Readonly<Record<string, string>>;
};

export type RouteOptions<Path extends string, Body> = {
  readonly method: Method;
  readonly path: Path;
  /** One line, for the OpenAPI document. */
  readonly summary: string;
  /** Whether it answers without a token; default: no. */
  readonly isPublic?: boolean;
  /** Whether `api-version` must be given; default: where a token must. */
  readonly isVersioned?: boolean;
  /** `form`: `application/x-www-form-urlencoded`, as an object of texts. */
  readonly bodyKind?: 'json' | 'form';
  readonly body?: z.ZodType<Body>;
  /** Whether it may be missing; then it is undefined. */
  readonly isBodyOptional?: boolean;
  /** What 200 answers, for the OpenAPI document. */
  readonly answer?: z.ZodType;
  readonly handle: (request: ApiRequest<ParamsOf<Path>, Body>) => Promise<ApiAnswer>;
};

/** A route whose types are checked already. */
export type Route = Omit<RouteOptions<string, unknown>, 'handle'> & {
  readonly handle: (
    request: ApiRequest<Readonly<Record<string, string>>, unknown>,
  ) => Promise<ApiAnswer>;
};

export function route<const Path extends string, Body = undefined>(
  options: RouteOptions<Path, Body>,
): Route {
  // The frame gives the handler the parameters that its path names, and a body that passed its schema.
  return options as unknown as Route;
}

export function ok(body: unknown, headers: Readonly<Record<string, string>> = {}): ApiAnswer {
  return { status: 200, body, headers };
}

export const SUBSCRIPTION = '/subscriptions/{subscription}';
export const GROUP = `${SUBSCRIPTION}/resourceGroups/{group}`;
export const VAULT = `${GROUP}/providers/Microsoft.RecoveryServices/vaults/{vault}`;

/** The vault that a path names. */
export function vaultOf(params: { readonly group: string; readonly vault: string }) {
  return { group: params.group, name: params.vault };
}
