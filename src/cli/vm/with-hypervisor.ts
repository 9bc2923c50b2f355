/** A connection to the hypervisor that `--connect` names, for one command. */
import { connectHypervisor, type Hypervisor } from '#backup';
import type { Context } from '../context.ts';
import type { ConnectOptions } from './options.ts';

/** Lends the hypervisor to `use` and closes it, whatever happens. */
export async function withHypervisor<Result>(
  context: Context,
  options: ConnectOptions,
  use: (hypervisor: Hypervisor) => Promise<Result>,
): Promise<Result> {
  const hypervisor = await openHypervisor(context, options);
  try {
    return await use(hypervisor);
  } finally {
    await hypervisor.close();
  }
}

/** Connects; the caller closes. @throws {HoldfastError} as `connectHypervisor`. */
export async function openHypervisor(
  context: Context,
  { connect }: ConnectOptions,
): Promise<Hypervisor> {
  const { clock, random } = context.surroundings;
  context.terminal.announce('looking for VMs');
  return await connectHypervisor(connect, { clock, random, signal: context.signal });
}
