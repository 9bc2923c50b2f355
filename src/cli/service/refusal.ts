/** What the service answered instead of what was asked for: its message and its code, which may be any of Azure's. */
export class ServiceRefusal extends Error {
  override readonly name = 'ServiceRefusal';
  readonly code: string;
  readonly status: number;

  constructor(status: number, told: { readonly code: string; readonly message: string }) {
    super(told.message);
    this.status = status;
    this.code = told.code;
  }
}

/** The error in a body such as `{"error":{"code","message"}}`. */
export function refusalOf(status: number, body: unknown): ServiceRefusal {
  const { code, message } = errorIn(body) ?? {};
  return new ServiceRefusal(status, {
    code: typeof code === 'string' && code !== '' ? code : `Http${status}`,
    message:
      typeof message === 'string' && message !== '' ? message : `the service answered ${status}`,
  });
}

function errorIn(
  body: unknown,
): { readonly code?: unknown; readonly message?: unknown } | undefined {
  if (typeof body !== 'object' || body === null || !('error' in body)) return undefined;
  const { error } = body;
  if (typeof error === 'object' && error !== null) return error;
  // OAuth's form.
  const description = 'error_description' in body ? body.error_description : undefined;
  return { code: error === 'invalid_client' ? 'SignInRefused' : error, message: description };
}
