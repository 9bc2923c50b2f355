/** What the options say of a VM that will be made. */
import { UsageError } from '../usage-error.ts';
import type { PointOptions } from './options.ts';

export type NewVmArguments = {
  readonly identity: 'new' | 'same';
  readonly networks: 'same' | 'none' | ReadonlyMap<string, string>;
};

const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;

export function newVmArguments({
  sameIdentity,
  network,
}: Pick<PointOptions, 'sameIdentity' | 'network'>): NewVmArguments {
  return { identity: sameIdentity === true ? 'same' : 'new', networks: parseNetworks(network) };
}

/** @throws {UsageError} */
export function parseNetworks(texts: readonly string[] = ['same']): NewVmArguments['networks'] {
  const [only] = texts;
  if (texts.length === 1 && (only === 'none' || only === 'same')) return only;
  const networks = new Map<string, string>();
  for (const text of texts) {
    const at = text.indexOf('=');
    const mac = text.slice(0, Math.max(0, at)).toLowerCase();
    const network = text.slice(at + 1);
    if (!MAC.test(mac) || network === '') {
      throw new UsageError(
        `--network ${text}: write none, same, or MAC=NETWORK such as 52:54:00:12:34:56=default`,
      );
    }
    if (networks.has(mac)) throw new UsageError(`--network names the card ${mac} twice`);
    networks.set(mac, network);
  }
  return networks;
}

/** The folder for images, which the command needs. @throws {UsageError} */
export function neededFolder({ dir }: Pick<PointOptions, 'dir'>, what: string): string {
  if (dir !== undefined) return dir;
  throw new UsageError(`--dir is missing: ${what}`);
}
