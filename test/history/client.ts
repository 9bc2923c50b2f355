/** Asks the API as an account does, which signs in anew where its token has ended. */
import { scryptSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import assert from 'node:assert/strict';
import type { Clock } from '#base';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import type { Service } from '../../src/service/service.ts';

const TOKEN_MS = 50 * 60_000;

export type Answer = { readonly status: number; readonly body: AnyJson };

/** Days pass in a hop, and each needs a new token: the hash of the account's secret is made to cost less. */
export async function cheapenSecret(
  { catalogue }: Pick<Service, 'catalogue'>,
  adminFile: string,
): Promise<void> {
  const { clientId, clientSecret } = accountIn(adminFile);
  const hash = scryptSync(clientSecret, '', 32, { N: 2, r: 1, p: 1 }).toString('base64url');
  await catalogue.change(async (change) => {
    const query = change.updateTable('principals').set({ secretHash: `scrypt$1$1$1$$${hash}` });
    await query.where('clientId', '=', clientId).execute();
  });
}

function accountIn(adminFile: string): {
  readonly clientId: string;
  readonly clientSecret: string;
} {
  return JSON.parse(readFileSync(adminFile, 'utf8'));
}

export class Client {
  readonly #api: { readonly url: string; readonly adminFile: string };
  readonly #clock: Clock;
  readonly #agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
  #token: { readonly text: string; readonly at: number } | undefined;

  constructor(api: { readonly url: string; readonly adminFile: string }, clock: Clock) {
    this.#api = api;
    this.#clock = clock;
  }

  close(): void {
    this.#agent.destroy();
  }

  async call(method: string, path: string, body?: unknown): Promise<Answer> {
    const [place, query = ''] = path.split('?');
    const version = 'api-version=2023-06-01';
    return await this.#send(method, `${place}?${query === '' ? '' : `${query}&`}${version}`, {
      text: body === undefined ? '' : JSON.stringify(body),
      type: 'application/json',
      authorization: `Bearer ${await this.#signedIn()}`,
    });
  }

  async #signedIn(): Promise<string> {
    const now = this.#clock.nowMs();
    const { text, at } = this.#token ?? { text: '', at: Infinity };
    if (now >= at && now < at + TOKEN_MS) return text;
    const { clientId, clientSecret } = accountIn(this.#api.adminFile);
    const form = new URLSearchParams({
      client_id: clientId,
      client_secret: clientSecret,
      grant_type: 'client_credentials',
      scope: 'https://management.azure.com/.default',
    });
    const type = 'application/x-www-form-urlencoded';
    const { status, body } = await this.#send('POST', '/adfs/oauth2/token', {
      text: form.toString(),
      type,
    });
    assert.equal(status, 200, JSON.stringify(body));
    this.#token = { text: body.access_token, at: now };
    return body.access_token;
  }

  async #send(
    method: string,
    path: string,
    sent: { text: string; type: string; authorization?: string },
  ): Promise<Answer> {
    const { text, type, authorization } = sent;
    const headers = {
      'content-type': type,
      'content-length': Buffer.byteLength(text),
      ...(authorization === undefined ? {} : { authorization }),
    };
    const url = new URL(path, this.#api.url.replace('localhost', '127.0.0.1'));
    return await new Promise((resolve, reject) => {
      const asked = httpsRequest(url, { method, headers, agent: this.#agent }, (answer) => {
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => parts.push(part));
        answer.on('error', reject);
        answer.on('end', () => {
          const body = Buffer.concat(parts).toString();
          const status = answer.statusCode!;
          resolve({ status, body: body === '' ? undefined : JSON.parse(body) });
        });
      });
      asked.on('error', reject);
      asked.end(text);
    });
  }
}
