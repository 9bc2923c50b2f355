/**
 * The service as its commands use it: Azure's SDKs for what Azure's API has, `http` for Holdfast's own. Each SDK is
 * loaded when the first command asks for it (50 to 70 ms), so that no other command pays for it.
 */
import type { ComputeManagementClient } from '@azure/arm-compute';
import type { RecoveryServicesClient } from '@azure/arm-recoveryservices';
import type { RecoveryServicesBackupClient } from '@azure/arm-recoveryservicesbackup';
import type { ResourceManagementClient } from '@azure/arm-resources';
import type { StorageManagementClient } from '@azure/arm-storage';
import { HoldfastError, type Clock } from '#base';
import { troubleText } from './connection-trouble.ts';
import type { ServiceHttp } from './service-http.ts';
import { refusalOf, ServiceRefusal } from './refusal.ts';

/** Those of a service on this machine answer at once or not at all. */
const RETRIES = { maxRetries: 1, retryDelayInMs: 100 };

/** Of Holdfast's own lists. */
const MOST_PER_PAGE = 1000;

export class Service {
  readonly http: ServiceHttp;
  readonly clock: Clock;
  readonly #loaded = new Map<string, Promise<unknown>>();

  constructor(http: ServiceHttp, clock: Clock) {
    this.http = http;
    this.clock = clock;
  }

  get subscriptionId(): string {
    return this.http.address.subscriptionId;
  }

  /** `/subscriptions/…`, what all paths begin with. */
  get root(): string {
    return `/subscriptions/${this.subscriptionId}`;
  }

  /** Vaults. */
  async vaults(): Promise<RecoveryServicesClient> {
    return await this.#once('vaults', async () => {
      const { RecoveryServicesClient: Client } = await import('@azure/arm-recoveryservices');
      return new Client(this.#credential, this.subscriptionId, this.#options);
    });
  }

  /** What is in vaults: policies, items, points, jobs. */
  async backup(): Promise<RecoveryServicesBackupClient> {
    return await this.#once('backup', async () => {
      const { RecoveryServicesBackupClient: Client } =
        await import('@azure/arm-recoveryservicesbackup');
      return new Client(this.#credential, this.subscriptionId, this.#options);
    });
  }

  async compute(): Promise<ComputeManagementClient> {
    return await this.#once('compute', async () => {
      const { ComputeManagementClient: Client } = await import('@azure/arm-compute');
      return new Client(this.#credential, this.subscriptionId, this.#options);
    });
  }

  async storage(): Promise<StorageManagementClient> {
    return await this.#once('storage', async () => {
      const { StorageManagementClient: Client } = await import('@azure/arm-storage');
      return new Client(this.#credential, this.subscriptionId, this.#options);
    });
  }

  async groups(): Promise<ResourceManagementClient['resourceGroups']> {
    return await this.#once('groups', async () => {
      const { ResourceManagementClient: Client } = await import('@azure/arm-resources');
      return new Client(this.#credential, this.subscriptionId, this.#options).resourceGroups;
    });
  }

  /** Asks an SDK; what it throws becomes what the service said. @throws {ServiceRefusal}; {HoldfastError} `ServiceUnavailable`. */
  async ask<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw this.#told(error);
    }
  }

  /** All entries of an SDK's list. @throws as `ask`. */
  async all<Entry>(list: AsyncIterable<Entry>): Promise<readonly Entry[]> {
    return await this.ask(async () => await Array.fromAsync(list));
  }

  /** All entries of a list of Holdfast's own. */
  async allOf<Entry>(
    path: string,
    asked: Readonly<Record<string, string>> = {},
  ): Promise<readonly Entry[]> {
    return await Array.fromAsync(this.#entriesOf<Entry>(path, asked));
  }

  /** At most `count` of them, the first ones. */
  async firstOf<Entry>(path: string, count: number): Promise<readonly Entry[]> {
    const entries: Entry[] = [];
    if (count === 0) return entries;
    const $top = String(Math.min(count, MOST_PER_PAGE));
    for await (const entry of this.#entriesOf<Entry>(path, { $top })) {
      entries.push(entry);
      if (entries.length === count) break;
    }
    return entries;
  }

  async *#entriesOf<Entry>(
    path: string,
    asked: Readonly<Record<string, string>>,
  ): AsyncGenerator<Entry> {
    let query = asked;
    for (;;) {
      const page = (await this.http.json('GET', path, { query })) as {
        readonly value: readonly Entry[];
        readonly nextLink?: string;
      };
      yield* page.value;
      if (page.nextLink === undefined) return;
      query = Object.fromEntries(new URL(page.nextLink).searchParams);
    }
  }

  get #credential(): { readonly getToken: ServiceHttp['getToken'] } {
    return { getToken: this.http.getToken };
  }

  get #options() {
    const { url: endpoint, authority } = this.http.address;
    return {
      endpoint,
      retryOptions: RETRIES,
      ...(authority === undefined ? {} : { tlsOptions: { ca: authority } }),
    };
  }

  async #once<Client>(name: string, load: () => Promise<Client>): Promise<Client> {
    const known = this.#loaded.get(name) as Promise<Client> | undefined;
    if (known !== undefined) return await known;
    const loading = load();
    this.#loaded.set(name, loading);
    return await loading;
  }

  #told(error: unknown): unknown {
    if (error instanceof ServiceRefusal || error instanceof HoldfastError) return error;
    if (!(error instanceof Error) || error.name !== 'RestError') return error;
    const { statusCode, response } = error as Error & {
      readonly statusCode?: number;
      readonly response?: { readonly bodyAsText?: string | null; readonly status: number };
    };
    const status = statusCode ?? response?.status;
    if (status !== undefined) {
      // Some SDKs keep the text, others what they read in it.
      const read = {
        error: { code: 'code' in error ? error.code : undefined, message: error.message },
      };
      return refusalOf(status, parsed(response?.bodyAsText) ?? read);
    }
    const { url, foundBy } = this.http.address;
    const message = `no service answers at ${url} (${foundBy}): ${troubleText(error.cause ?? error, this.http.address)}`;
    return new HoldfastError('ServiceUnavailable', message, { cause: error });
  }
}

function parsed(text: string | null | undefined): unknown {
  try {
    return JSON.parse(text ?? '') as unknown;
  } catch {
    return undefined;
  }
}
