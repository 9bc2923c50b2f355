/**
 * Accepted requests (202), and what is answered to whoever asks how they went.
 *
 * ```
 *   202  Azure-AsyncOperation: …/operationsStatus/{op}   ─GET─► 200 status JSON, at any time
 *        Location:             …/operationResults/{op}   ─GET─► 202 while it runs; then 200 with what came of it, or 204
 *        Retry-After: 1
 * ```
 * `az` takes the last segment of the first header and asks `{vault}/backupOperations/{op}` for the same.
 */
import { getOperation, getVault, type Operation } from '#service';
import { ok, vaultOf, type ApiAnswer, type ApiRequest } from './route.ts';

const RETRY_AFTER = { 'Retry-After': '1' };
/** What Azure writes for a time that has not come. */
const NO_TIME = '0001-01-01T00:00:00Z';

type Asked = Pick<ApiRequest<unknown, unknown>, 'baseUrl' | 'apiVersion'>;

/** @param at the paths that ask for its status and its result. */
export function acceptedAnswer(
  { baseUrl, apiVersion }: Asked,
  at: { readonly status: string; readonly result: string },
): ApiAnswer {
  const url = (path: string): string => `${baseUrl}${path}?api-version=${apiVersion}`;
  return {
    status: 202,
    headers: {
      'Azure-AsyncOperation': url(at.status),
      Location: url(at.result),
      ...RETRY_AFTER,
    },
  };
}

/** The answer of the status routes. */
export function statusAnswer(operation: Operation): ApiAnswer {
  return ok(statusJson(operation), operation.endedAt === undefined ? RETRY_AFTER : {});
}

/**
 * The answer of the result routes.
 *
 * @param result what came of it; undefined: nothing, 204. Default: the status.
 */
export async function resultAnswer(
  { baseUrl, path, apiVersion }: Asked & { readonly path: string },
  operation: Operation,
  result: () => Promise<unknown> = async () => statusJson(operation),
): Promise<ApiAnswer> {
  if (operation.endedAt === undefined) {
    const Location = `${baseUrl}${path}?api-version=${apiVersion}`;
    return { status: 202, headers: { Location, ...RETRY_AFTER } };
  }
  if (operation.failure !== undefined) return { status: 400, body: { error: operation.failure } };
  const body = await result();
  return body === undefined ? { status: 204 } : ok(body);
}

/** The operation of a vault that a path names. @throws {HoldfastError} `ResourceNotFound`, `OperationNotFound`. */
export async function operationOf(
  request: ApiRequest<
    { readonly group: string; readonly vault: string; readonly operation: string },
    unknown
  >,
): Promise<Operation> {
  const { service, params } = request;
  const { id: vaultId } = await getVault(service.catalogue.read, vaultOf(params));
  return await getOperation(service.catalogue.read, { vaultId, id: params.operation });
}

export function statusJson(operation: Operation): Readonly<Record<string, unknown>> {
  const { id, status, createdAt, endedAt, jobId, failure } = operation;
  return {
    id,
    name: id,
    status,
    startTime: new Date(createdAt).toISOString(),
    endTime: endedAt === undefined ? NO_TIME : new Date(endedAt).toISOString(),
    ...(jobId === undefined
      ? {}
      : { properties: { objectType: 'OperationStatusJobExtendedInfo', jobId } }),
    ...(failure === undefined ? {} : { error: failure }),
  };
}
