/**
 * What goes wrong between us and an NBD server, in our words: what was being done, on which disk, and what
 * to do. What client and server said of it stands in parentheses at the end.
 */
import { HoldfastError, isHoldfastError, type ErrorCode } from '#base';

export type NbdWork = {
  /** As in "cannot … DISK": `read`. */
  readonly doing: string;
  /** The image or the address. */
  readonly disk: string;
};

/** What to do, by code; errors of other codes say enough, or are our own. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  ArgumentInvalid: 'its server must be reached without TLS, for example over a unix socket',
  DiskChanged: 'it changed its size meanwhile: stop its writer or use a snapshot, then run again',
  DiskNotFound: 'its server has no such export: correct the name behind the "/" of the address',
  DiskReadFailed: 'its server cannot read that place: repair or replace the disk',
  DiskUnavailable: 'its server cannot be reached or has ended: check the server, then run again',
  DiskWriteFailed: 'its server cannot write that place: check space and health of the target',
  ProtocolViolation: 'its server does not keep to the NBD protocol: check that it is an NBD server',
};

/**
 * Does the work.
 *
 * @throws {HoldfastError} what `work` throws, same code and details, in our words.
 */
export async function inOurWords<Result>(
  { doing, disk }: NbdWork,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const advice = isHoldfastError(error) ? ADVICE[error.code] : undefined;
    if (!isHoldfastError(error) || advice === undefined) throw error;
    const { offset } = error.details;
    const where = offset === undefined ? '' : ` at offset ${offset}`;
    const message = `cannot ${doing} "${disk}"${where}: ${advice} (${rawOf(error)})`;
    throw new HoldfastError(error.code, message, { cause: error, details: error.details });
  }
}

function rawOf({ message, cause }: HoldfastError): string {
  return isHoldfastError(cause) ? `${message}: ${cause.message}` : message;
}
