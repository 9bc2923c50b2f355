/** A connection to the hypervisor that `--connect` names, for one command. */
import { connectHypervisor, type Hypervisor } from '#backup';
import type { Context } from '../context.ts';
import type { ConnectOptions } from './options.ts';

/** Lends the hypervisor to `use` and closes it, whatever happens. */
export async function withHypervisor<Result>(
  context: Context,
  { connect }: ConnectOptions,
  use: (hypervisor: Hypervisor) => Promise<Result>,
): Promise<Result> {
  const { clock, random } = context.surroundings;
  context.terminal.announce('looking for VMs');
  const hypervisor = await connectHypervisor(connect, { clock, random, signal: context.signal });
  try {
    return await use(hypervisor);
  } finally {
    await hypervisor.close();
  }
}
