/**
 * Errors as HTTP answers, in the shape of Azure's: `{"error":{"code","message"}}`. The one place that knows which
 * kind is which status.
 */
import { HoldfastError, type ErrorCode } from '#base';
import { Refusal } from './frame/refusal.ts';

export type ErrorAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly error: { readonly code: string; readonly message: string } };
};

const STATUS_OF_KIND = {
  invalid: 400,
  notFound: 404,
  conflict: 409,
  unavailable: 503,
  corrupt: 500,
  cancelled: 503,
} as const satisfies Record<HoldfastError['kind'], number>;

const STATUS_OF_CODE: Partial<Record<ErrorCode, number>> = {
  PreconditionFailed: 412,
  SignInDelayed: 429,
  SignInRefused: 401,
  TokenInvalid: 401,
  UserErrorJobNotCancellable: 400,
};

/** @returns undefined for what is a bug: the caller tells nobody what it was. */
export function errorAnswer(error: unknown): ErrorAnswer | undefined {
  if (error instanceof Refusal) {
    const { status, headers, code, message } = error;
    return { status, headers, body: { error: { code, message } } };
  }
  if (!(error instanceof HoldfastError)) return undefined;
  const status = STATUS_OF_CODE[error.code] ?? STATUS_OF_KIND[error.kind];
  const { code, message, headers } = toldAs(error);
  return { status, headers, body: { error: { code, message } } };
}

export function bugAnswer(requestId: string): ErrorAnswer {
  const message = `The service failed at this request; its log tells why, under ${requestId}.`;
  return { status: 500, headers: {}, body: { error: { code: 'InternalServerError', message } } };
}

type Told = {
  readonly code: string;
  readonly message: string;
  readonly headers: Readonly<Record<string, string>>;
};

function toldAs(error: HoldfastError): Told {
  const { code, message, details, retryable } = error;
  if (code === 'ResourceNotFound' || code === 'ResourceGroupNotFound') {
    const headers = { 'x-ms-failure-cause': 'gateway' };
    return { code, message: notFoundText(error), headers };
  }
  if (code === 'TokenInvalid') {
    return { code: 'InvalidAuthenticationToken', message, headers: challenge() };
  }
  const { waitSeconds } = details;
  if (waitSeconds !== undefined) {
    return { code, message, headers: { 'Retry-After': String(waitSeconds) } };
  }
  const isUnavailable = STATUS_OF_KIND[error.kind] === STATUS_OF_KIND.unavailable;
  return { code, message, headers: isUnavailable && retryable ? { 'Retry-After': '5' } : {} };
}

/** In the words of Azure's gateway, which clients look for. */
function notFoundText({ message, details }: HoldfastError): string {
  const { type, name, group } = details;
  if (type === undefined || name === undefined || group === undefined) return message;
  return (
    `The Resource '${type}/${name}' under resource group '${group}' was not found. For more details please go ` +
    `to https://aka.ms/ARMResourceNotFoundFix`
  );
}

export function challenge(): Readonly<Record<string, string>> {
  return { 'WWW-Authenticate': 'Bearer realm="Holdfast", error="invalid_token"' };
}
