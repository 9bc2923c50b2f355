/** Why there is no QMP at a socket, and what to do about it. */
import { HoldfastError } from '#base';

/** What was seen before QEMU's greeting came. */
export type Silence = {
  readonly path: string;
  /** From connecting or reading. */
  readonly cause: unknown;
  /** The other side hung up. */
  readonly isGone: boolean;
  readonly waitedMs: number;
};

const ONE_CLIENT =
  'QMP serves one client at a time: end the other (a monitor, another Holdfast), or start the VM with a second -qmp socket';

/** `HypervisorUnavailable`; its cause is that of the silence. */
export function unreachable({ path, cause, isGone, waitedMs }: Silence): HoldfastError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : undefined;
  const why = code === undefined ? silenceOf({ cause, isGone, waitedMs }) : reasonOf(code);
  return new HoldfastError('HypervisorUnavailable', `no QMP at "${path}": ${why}`, {
    cause,
    details: { path, ...(code === undefined ? {} : { systemError: code }) },
  });
}

function reasonOf(code: string): string {
  switch (code) {
    case 'ENOENT':
      return 'there is no such socket: start the VM with -qmp unix:PATH,server=on,wait=off, or correct the path';
    case 'ECONNREFUSED':
      return 'no QEMU listens there: it has ended, or this is no socket';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not use the socket: run Holdfast as root, or as the user that QEMU runs as';
    case 'EAGAIN':
      return `other programs wait for it already: ${ONE_CLIENT}`;
    default:
      return `it cannot be connected to (${code})`;
  }
}

function silenceOf({ cause, isGone, waitedMs }: Omit<Silence, 'path'>): string {
  if (cause instanceof SyntaxError) {
    return 'something else answers there: name the socket of -qmp, not that of -monitor or of the guest agent';
  }
  if (isGone) return 'whoever listens there hung up: is it the socket of -qmp?';
  return (
    `no greeting within ${waitedMs / 1000} s, so another program is connected, or it is the guest agent's socket. ` +
    ONE_CLIENT
  );
}
