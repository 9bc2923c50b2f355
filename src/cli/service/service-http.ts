/**
 * Requests to the service by `node:https`: signing in, and the routes of Holdfast's own that no SDK knows. With the
 * authority of `ServiceAddress` and no other way around verification.
 *
 * Signing in is our own request instead of `@azure/identity`'s: the same form to the same ADFS-style endpoint, one
 * request instead of two, and 35 to 130 ms less to load at each command.
 */
import { Agent, request, type RequestOptions } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { HoldfastError } from '#base';
import type { ServiceAddress } from './find-service.ts';
import { refusalOf, ServiceRefusal } from './refusal.ts';
import { troubleText } from './connection-trouble.ts';

/** Ours; the routes take any. */
const API_VERSION = '2023-06-01';
/** A token is asked for anew this long before it ends. */
const EARLY_MS = 60_000;
const MOST_BYTES = 64 * 1024 * 1024;

export type Token = { readonly token: string; readonly expiresOnTimestamp: number };

type Call = {
  readonly body?: unknown;
  readonly query?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
};

export class ServiceHttp {
  readonly address: ServiceAddress;
  readonly #agent: Agent;
  readonly #nowMs: () => number;
  #token: Token | undefined;
  #signingIn: Promise<Token> | undefined;

  constructor(address: ServiceAddress, nowMs: () => number) {
    this.address = address;
    this.#nowMs = nowMs;
    const { authority } = address;
    this.#agent = new Agent({
      keepAlive: true,
      ...(authority === undefined ? {} : { ca: authority }),
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  /** As Azure's SDKs want it of a credential; kept in memory only. */
  readonly getToken = async (): Promise<Token> => {
    if (this.#token !== undefined && this.#token.expiresOnTimestamp - EARLY_MS >= this.#nowMs()) {
      return this.#token;
    }
    // All who come meanwhile share it, and its failure; the next one signs in again.
    this.#signingIn ??= this.#signIn().finally(() => (this.#signingIn = undefined));
    this.#token = await this.#signingIn;
    return this.#token;
  };

  /**
   * @param path from the root: `/subscriptions/…`; its names encoded.
   * @returns the JSON of the answer; undefined where there is none.
   * @throws {ServiceRefusal} for every status of 400 and above; {HoldfastError} `ServiceUnavailable`.
   */
  async json(method: string, path: string, call: Call = {}): Promise<unknown> {
    const answer = await this.#call(method, path, call);
    const text = await textOf(answer);
    return text === '' ? undefined : parse(text);
  }

  /** For requests that are accepted (202). @returns the header Azure-AsyncOperation. @throws as `json`. */
  async accepted(method: string, path: string, call: Call): Promise<string | undefined> {
    const answer = await this.#call(method, path, call);
    await textOf(answer);
    const at = answer.headers['azure-asyncoperation'];
    return typeof at === 'string' ? at : undefined;
  }

  /** Server-sent events: the data of each, until the answer ends. @throws as `json`. */
  async *events(path: string, call: Pick<Call, 'signal'> = {}): AsyncGenerator<string, undefined> {
    const answer = await this.#call('GET', path, { ...call, accept: 'text/event-stream' });
    answer.setEncoding('utf8');
    let text = '';
    for await (const piece of answer) {
      text += String(piece);
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const lines = block.split(/\r?\n/).filter((line) => line.startsWith('data:'));
        if (lines.length > 0) yield lines.map((line) => line.slice(5).trimStart()).join('\n');
      }
    }
  }

  async #call(
    method: string,
    path: string,
    { body, query, signal, accept }: Call & { readonly accept?: string },
  ): Promise<IncomingMessage> {
    const { token } = await this.getToken();
    const parameters = new URLSearchParams({ 'api-version': API_VERSION, ...query });
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const answer = await this.#send(`${path}?${parameters.toString()}`, payload, {
      method,
      ...(signal === undefined ? {} : { signal }),
      headers: {
        authorization: `Bearer ${token}`,
        accept: accept ?? 'application/json',
        ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
      },
    });
    const { statusCode = 0 } = answer;
    if (statusCode >= 400) throw refusalOf(statusCode, parse(await textOf(answer)));
    return answer;
  }

  async #signIn(): Promise<Token> {
    const { url, clientId, clientSecret } = this.address;
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: clientId,
      client_secret: clientSecret,
      scope: `${url}/.default`,
    });
    const answer = await this.#send('/adfs/oauth2/token', form.toString(), {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    const body = parse(await textOf(answer));
    const { statusCode = 0 } = answer;
    if (statusCode !== 200) throw this.#notSignedIn(refusalOf(statusCode, body));
    const { access_token: token, expires_in: seconds } = body as {
      readonly access_token: string;
      readonly expires_in: number;
    };
    return { token, expiresOnTimestamp: this.#nowMs() + Number(seconds) * 1000 };
  }

  #notSignedIn(refusal: ServiceRefusal): ServiceRefusal {
    if (refusal.code !== 'SignInRefused') return refusal;
    const { url, secretFrom } = this.address;
    const message =
      `the service at ${url} refuses the client id or the secret of ${secretFrom}: the account was deleted, its ` +
      'secret was rotated, or it is of another service; an account that works makes another secret: holdfast ' +
      'principal rotate NAME';
    return new ServiceRefusal(refusal.status, { code: refusal.code, message });
  }

  async #send(
    path: string,
    payload: string | undefined,
    options: RequestOptions,
  ): Promise<IncomingMessage> {
    const { url } = this.address;
    try {
      return await new Promise<IncomingMessage>((settle, reject) => {
        const sent = request(`${url}${path}`, { ...options, agent: this.#agent }, settle);
        sent.once('error', reject);
        sent.end(payload);
      });
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  #unavailable(error: unknown): HoldfastError {
    const { url, foundBy } = this.address;
    return new HoldfastError(
      'ServiceUnavailable',
      `no service answers at ${url} (${foundBy}): ${troubleText(error, this.address)}`,
      { cause: error },
    );
  }
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of answer) {
    const bytes = piece as Buffer;
    length += bytes.length;
    if (length > MOST_BYTES)
      throw new HoldfastError('ServiceUnavailable', 'its answer is too long');
    pieces.push(bytes);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** Undefined for what is no JSON: an error page of something else that listens there. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
