/** Accepted requests (202): the operation that is answered, and the job that it began. */
import type { Named } from './names.ts';
import { ServiceRefusal } from './refusal.ts';
import type { Service } from './service.ts';

const POLL_MS = 100;

/** What Azure's SDKs tell of an answer. */
type OnResponse = (answer: {
  readonly headers: { readonly get: (name: string) => string | undefined };
}) => void;

/**
 * Sends a request by an SDK and waits until it is accepted.
 *
 * @returns the job's id; undefined where nothing had to be done.
 * @throws {ServiceRefusal} what the service refused it with.
 */
export async function begin(
  service: Service,
  vault: Named,
  send: (onResponse: OnResponse) => Promise<unknown>,
): Promise<string | undefined> {
  let at: string | undefined;
  await service.ask(
    async () =>
      await send(({ headers }) => {
        at ??= headers.get('azure-asyncoperation');
      }),
  );
  return await jobOf(service, vault, at);
}

/** @param at the header Azure-AsyncOperation of the answer. */
export async function jobOf(
  service: Service,
  { group, name }: Named,
  at: string | undefined,
): Promise<string | undefined> {
  if (at === undefined) return undefined;
  const operation = new URL(at).pathname.split('/').at(-1) ?? '';
  const { backupOperationStatuses } = await service.backup();
  for (;;) {
    const status = await service.ask(
      async () => await backupOperationStatuses.get(name, group, operation),
    );
    const { status: state, error, properties } = status;
    if (state !== 'InProgress') {
      if (error?.code !== undefined) {
        throw new ServiceRefusal(400, { code: error.code, message: error.message ?? '' });
      }
      const jobId = (properties as { readonly jobId?: string | null } | undefined)?.jobId;
      return jobId ?? undefined;
    }
    await service.clock.sleep(POLL_MS);
  }
}
