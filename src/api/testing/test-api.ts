/** The API on a service of its own, for tests: requests by `inject`, signed in. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { realClock, type Clock } from '#base';
import {
  createPrincipal,
  discoverHost,
  openAccess,
  openService,
  putHost,
  putResourceGroup,
  type Service,
  type ServiceLog,
} from '#service';
import { buildApp, DEFAULT_LIMITS, type ApiLimits } from '../frame/build-app.ts';
import type { Route } from '../frame/route.ts';
import { ROUTES } from '../routes.ts';
import { makeLog } from '../serving/log.ts';
import type { AnyJson } from './any-json.ts';

export const HOST = 'localhost:8443';
const UNLIMITED = { burst: 1e9, perSecond: 1e9 };

type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** JSON; undefined where there is no body. */
  readonly body: AnyJson;
};

type Call = {
  readonly body?: unknown;
  /** Instead of `body`: as it is. */
  readonly payload?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  /** Without the leading `?`; default: an api-version. */
  readonly query?: string;
};

type Options = {
  readonly clock?: Clock;
  readonly limits?: Partial<ApiLimits>;
  readonly routes?: readonly Route[];
  readonly hasManagedIdentity?: boolean;
};

export type TestApi = Awaited<ReturnType<typeof testApi>>;

/** Ends with the test. */
export async function testApi(t: TestContext, options: Options = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-api-'));
  const logged: string[] = [];
  const log = logInto(logged);
  const service = await openService({
    data: join(folder, 'data'),
    clock: options.clock ?? realClock(),
    random: (sizeBytes) => randomBytes(sizeBytes),
    version: '0.0.0-test',
    process: { host: 'test', pid: process.pid, command: 'test' },
    settings: { repositoryIdleMs: 100 },
    log,
  });
  const access = await openAccess(service);
  const limits = { ...DEFAULT_LIMITS, perAccount: UNLIMITED, perAddress: UNLIMITED };
  const app = buildApp({
    service,
    access,
    hasManagedIdentity: options.hasManagedIdentity === true,
    log,
    routes: options.routes ?? ROUTES,
    limits: { ...limits, ...options.limits },
  });
  t.after(async () => {
    await app.close();
    await service.close();
    await rm(folder, { recursive: true, force: true });
  });
  const { clientId, clientSecret } = await createPrincipal(service, 'tester');
  const signIn = { clientId, clientSecret, address: '127.0.0.1' };
  const { token } = await access.signIn({ ...signIn, audience: 'https://management.azure.com' });
  const subscription = `/subscriptions/${access.subscriptionId}`;
  return {
    app,
    service,
    access,
    call: caller(app, token),
    folder,
    clientId,
    clientSecret,
    token,
    /** What was logged, a JSON text each. */
    logged,
    subscription,
    group: async (name: string): Promise<string> => {
      await putResourceGroup(service, { name, location: 'local', tags: {} });
      return `${subscription}/resourceGroups/${name}`;
    },
    /** A host `name` with VMs of raw images. @returns the path of its group. */
    imagesHost: async (name: string, vms: readonly string[]): Promise<string> => {
      await addImagesHost(service, { images: join(folder, `images-${name}`), name, vms });
      return `${subscription}/resourceGroups/${name}`;
    },
  };
}

/** As `makeLog` does it, but kept. */
function logInto(logged: string[]): ServiceLog {
  return makeLog(realClock(), { write: (line) => logged.push(line) });
}

function caller(app: ReturnType<typeof buildApp>, token: string) {
  return async (method: string, path: string, asked: Call = {}): Promise<Answer> => {
    const { body, payload, headers, query = 'api-version=2023-06-01' } = asked;
    const sent = payload ?? (body === undefined ? undefined : JSON.stringify(body));
    const answer = await app.inject({
      method: method as 'GET',
      url: query === '' ? path : `${path}?${query}`,
      headers: {
        host: HOST,
        authorization: `Bearer ${token}`,
        ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(sent === undefined ? {} : { payload: sent }),
    });
    const { statusCode: status, headers: told, payload: text } = answer;
    return { status, headers: told, body: text === '' ? undefined : JSON.parse(text) };
  };
}

async function addImagesHost(
  service: Service,
  host: { readonly images: string; readonly name: string; readonly vms: readonly string[] },
): Promise<void> {
  const { images, name, vms } = host;
  for (const vm of vms) {
    await mkdir(join(images, vm), { recursive: true });
    await writeFile(join(images, vm, 'a-system.raw'), Buffer.alloc(65_536, vm));
    await writeFile(join(images, vm, 'b-data.raw'), Buffer.alloc(32_768, 1));
  }
  await putHost(service, { name, uri: `images:${images}` });
  await discoverHost(service, name);
}
