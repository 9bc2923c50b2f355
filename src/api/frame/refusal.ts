/** What only HTTP can refuse: codes of Azure's gateway, which the domain does not know, with their status. */

const REFUSALS = {
  AuthenticationFailed: 401,
  AuthorizationFailed: 403,
  InvalidApiVersionParameter: 400,
  InvalidAuthenticationToken: 401,
  InvalidAuthenticationTokenAudience: 401,
  InvalidFilter: 400,
  InvalidHeaderValue: 400,
  InvalidHostName: 400,
  InvalidQueryParameter: 400,
  InvalidRequestContent: 400,
  InvalidRequestUri: 400,
  InvalidSkipToken: 400,
  LocationNotAvailableForResourceType: 400,
  MethodNotAllowed: 405,
  MissingApiVersionParameter: 400,
  NotSupported: 400,
  PathNotFound: 404,
  RequestTimeout: 408,
  RequestTooLarge: 413,
  SubscriptionNotFound: 404,
  TooManyRequests: 429,
  UnsupportedMediaType: 415,
  UriTooLong: 414,
} as const satisfies Record<string, number>;

type RefusalCode = keyof typeof REFUSALS;

export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: RefusalCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
  }

  get status(): number {
    return REFUSALS[this.code];
  }
}
