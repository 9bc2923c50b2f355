/**
 * Files in the guest, through guest-file-*: in pieces, each its own base64; a handle is always closed. Made for
 * small files: the agent is no way for bulk data.
 */
import { HoldfastError } from '#base';
import type { GuestCall } from './guest-process.ts';

/** Well below the limits of the agent and of libvirt's messages (4 MiB), as base64. */
const PIECE_BYTES = 48 * 1024;

/** @throws {HoldfastError} `AgentFailed` if it cannot be opened or read, or is longer than `maxBytes`. */
export async function readGuestFile(
  call: GuestCall,
  file: { readonly path: string; readonly maxBytes: number },
): Promise<Buffer> {
  return await withHandle(call, { path: file.path, mode: 'r' }, async (handle) => {
    const pieces: Buffer[] = [];
    let lengthBytes = 0;
    for (;;) {
      const answer = (await call('guest-file-read', { handle, count: PIECE_BYTES })) as {
        'buf-b64'?: string;
        count: number;
        eof: boolean;
      };
      const piece = Buffer.from(answer['buf-b64'] ?? '', 'base64').subarray(0, answer.count);
      pieces.push(piece);
      lengthBytes += piece.length;
      if (lengthBytes > file.maxBytes) {
        throw new HoldfastError(
          'AgentFailed',
          `${file.path} in the guest is longer than ${file.maxBytes} bytes`,
          { details: { path: file.path, class: 'FileTooLong', text: 'file too long' } },
        );
      }
      if (answer.eof || answer.count === 0) return Buffer.concat(pieces);
    }
  });
}

/** Makes or truncates the file, then writes all of `content`. @throws {HoldfastError} `AgentFailed`. */
export async function writeGuestFile(
  call: GuestCall,
  file: { readonly path: string; readonly content: Uint8Array },
): Promise<void> {
  const content = Buffer.from(file.content);
  await withHandle(call, { path: file.path, mode: 'w' }, async (handle) => {
    for (let offset = 0; offset < content.length;) {
      const piece = content.subarray(offset, offset + PIECE_BYTES);
      const answer = (await call('guest-file-write', {
        handle,
        'buf-b64': piece.toString('base64'),
      })) as { count: number };
      if (answer.count <= 0) {
        throw new HoldfastError('AgentFailed', `${file.path}: the guest took no more bytes`, {
          details: { path: file.path, class: 'GenericError', text: 'nothing was written' },
        });
      }
      offset += answer.count;
    }
    await call('guest-file-flush', { handle });
  });
}

async function withHandle<T>(
  call: GuestCall,
  open: { readonly path: string; readonly mode: 'r' | 'w' },
  use: (handle: number) => Promise<T>,
): Promise<T> {
  const handle = (await call('guest-file-open', open)) as number;
  const [used] = await Promise.allSettled([use(handle)]);
  const [closed] = await Promise.allSettled([call('guest-file-close', { handle })]);
  // The first failure counts.
  if (used.status === 'rejected') throw used.reason;
  if (closed.status === 'rejected') throw closed.reason;
  return used.value;
}
