/** A disk behind an NBD server, as a source and a target. */
import { HoldfastError } from '#base';
import type { DiskTarget, OpenOptions, TargetSpec } from './disk-source.ts';
import { ExtentCollector, type Extent } from './extent.ts';
import { parseNbdUri } from './nbd-address.ts';
import { NbdClient } from './nbd-client.ts';
import { inOurWords } from './nbd-words.ts';
import { ALLOCATION, ALLOCATION_CONTEXT } from './nbd-protocol.ts';

export class NbdDisk implements DiskTarget {
  readonly #client: NbdClient;
  readonly sizeBytes: number;
  readonly fresh: boolean;
  readonly description: string;

  private constructor(client: NbdClient, spec: TargetSpec & { readonly kind: 'nbd' }) {
    this.#client = client;
    this.description = spec.image ?? client.description;
    this.sizeBytes = spec.sizeBytes;
    this.fresh = spec.fresh;
  }

  /**
   * Connects. A server may show up to a few sectors more than the spec says, never less.
   *
   * @throws {HoldfastError} `DiskChanged` if it shows less; what `NbdClient.connect` throws.
   */
  static async open(
    spec: TargetSpec & { readonly kind: 'nbd' },
    options: OpenOptions,
  ): Promise<NbdDisk> {
    const disk = spec.image ?? spec.uri;
    const { pieceBytes } = spec;
    const client = await connectNbd(spec.uri, { ...options, disk, pieceBytes });
    if (client.sizeBytes >= spec.sizeBytes) return new NbdDisk(client, spec);
    await client.close();
    throw new HoldfastError(
      'DiskChanged',
      `"${disk}" had ${spec.sizeBytes} bytes and now has ${client.sizeBytes}`,
    );
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.#check(offsetBytes, target.length);
    await this.#inOurWords('read', () => this.#client.read(offsetBytes, target));
  }

  async dataExtents(range?: Extent): Promise<Extent[]> {
    const wanted = range ?? { offset: 0, length: this.sizeBytes };
    this.#check(wanted.offset, wanted.length);
    if (wanted.length === 0) return [];
    if (!this.#client.hasContext(ALLOCATION_CONTEXT)) return [wanted];
    const collector = new ExtentCollector();
    await this.#inOurWords('find the data of', async () => {
      const statuses = this.#client.statuses(ALLOCATION_CONTEXT, wanted);
      for await (const { offset, length, flags } of statuses) {
        // Only the zero flag promises zeros; a hole without it may read as anything.
        if ((flags & ALLOCATION.zero) === 0) collector.add({ offset, length });
      }
    });
    return collector.extents();
  }

  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    this.#check(offsetBytes, bytes.length);
    await this.#inOurWords('write', () => this.#client.write(offsetBytes, bytes));
  }

  async writeZeroes(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.#check(offsetBytes, lengthBytes);
    if (this.fresh) return;
    const write = (): Promise<void> => this.#client.writeZeroes(offsetBytes, lengthBytes);
    await this.#inOurWords('write', write);
  }

  async flush(): Promise<void> {
    await this.#inOurWords('finish writing', () => this.#client.flush());
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #inOurWords<Result>(doing: string, work: () => Promise<Result>): Promise<Result> {
    return await inOurWords({ doing, disk: this.description }, work);
  }

  #check(offset: number, length: number): void {
    if (offset >= 0 && length >= 0 && offset + length <= this.sizeBytes) return;
    throw new HoldfastError(
      'DiskRangeInvalid',
      `${length} bytes at ${offset} are not on ${this.description} (${this.sizeBytes} bytes)`,
      { details: { offset, length, sizeBytes: this.sizeBytes } },
    );
  }
}

/** `disk`: what messages call it, instead of its address. */
export async function connectNbd(
  uri: string,
  options: OpenOptions & { readonly disk?: string; readonly pieceBytes?: number | undefined },
): Promise<NbdClient> {
  const { clock, signal, disk = uri, pieceBytes } = options;
  const address = parseNbdUri(uri);
  const contexts = [ALLOCATION_CONTEXT];
  return await inOurWords({ doing: 'connect to', disk }, () =>
    NbdClient.connect({
      address,
      contexts,
      clock,
      ...(signal === undefined ? {} : { signal }),
      ...(pieceBytes === undefined ? {} : { pieceBytes }),
    }),
  );
}
