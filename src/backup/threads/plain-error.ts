/** Errors as plain data, so that they keep their code when they cross between threads. */
import { ERRORS, HoldfastError, type ErrorCode, type ErrorDetails } from '#base';

export type PlainError = {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Of a `HoldfastError`. */
  readonly code: string | undefined;
  readonly details: ErrorDetails;
  readonly cause: PlainError | undefined;
};

export function toPlainError(error: unknown): PlainError {
  if (!(error instanceof Error)) {
    const message = String(error);
    return {
      name: 'Error',
      message,
      stack: undefined,
      code: undefined,
      details: {},
      cause: undefined,
    };
  }
  const { name, message, stack, cause } = error;
  const isOurs = error instanceof HoldfastError;
  return {
    name,
    message,
    stack,
    code: isOurs ? error.code : undefined,
    details: isOurs ? error.details : {},
    cause: cause === undefined ? undefined : toPlainError(cause),
  };
}

export function fromPlainError(plain: PlainError): Error {
  const cause = plain.cause === undefined ? undefined : fromPlainError(plain.cause);
  const { code, message, details } = plain;
  const error = isErrorCode(code)
    ? new HoldfastError(code, message, { cause, details })
    : Object.assign(new Error(message, { cause }), { name: plain.name });
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}

function isErrorCode(code: string | undefined): code is ErrorCode {
  return code !== undefined && code in ERRORS;
}
