/** Why nothing can listen at an address, and what to do. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { HoldfastError } from '#base';

type ListenAt = { readonly host: string; readonly port: number };

/**
 * For a first start, before anything is made: one that cannot listen leaves nothing behind.
 *
 * @throws {HoldfastError} `ListenFailed`.
 */
export async function requireListenable({ host, port }: ListenAt): Promise<void> {
  const server = createServer();
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (error) {
    throw listenFailed({ host, port }, error);
  }
  server.close();
  await once(server, 'close');
}

export function listenFailed({ host, port }: ListenAt, cause: unknown): HoldfastError {
  const why = whyNot(cause as NodeJS.ErrnoException, host);
  const message = `cannot listen at ${host}:${port}: ${why}`;
  return new HoldfastError('ListenFailed', message, { cause });
}

function whyNot({ code = '', message }: NodeJS.ErrnoException, host: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'something listens there already, perhaps another holdfast serve: stop it, or choose another port (0: a free one)';
    case 'EADDRNOTAVAIL':
      return 'it is no address of this machine: choose one that it has, 127.0.0.1 or 0.0.0.0';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `there is no machine ${host}, as far as this one knows: write an address`;
    case 'EACCES':
      return 'ports below 1024 are for root: choose one above';
    default:
      return message;
  }
}
