/** `holdfast vm extension`: the backup extension in a guest: what is there, put it there, take it away. */
import { vmExtension } from '#backup';
import type { Context } from '../context.ts';
import { formatTable, left } from '../output/table.ts';
import { UsageError } from '../usage-error.ts';
import type { ConnectOptions } from './options.ts';
import { withHypervisor } from './with-hypervisor.ts';

export type ExtensionOptions = ConnectOptions & {
  readonly install?: boolean;
  readonly uninstall?: boolean;
};

export async function extension(
  context: Context,
  name: string,
  options: ExtensionOptions,
): Promise<void> {
  const { install, uninstall } = options;
  if (install === true && uninstall === true) {
    throw new UsageError('--install and --uninstall contradict each other: give one of them');
  }
  const { clock } = context.surroundings;
  const action = install === true ? 'install' : uninstall === true ? 'uninstall' : 'look';
  const found = await withHypervisor(
    context,
    options,
    async (hypervisor) =>
      await vmExtension({ hypervisor, vm: name, action, clock, signal: context.signal }),
  );
  context.terminal.result(found, () => {
    const what = `${found.name} ${found.version}`;
    if (found.state === 'absent') {
      return `${name} has no backup extension; its next backup while it runs installs ${what}.`;
    }
    const lines = [
      found.fault === undefined
        ? `${what} is installed in ${name}.`
        : `${what} in ${name} is damaged, and its next backup repairs it: ${found.fault}`,
      '',
      formatTable(
        [left('FILE IN THE GUEST'), left('WHAT IT IS')],
        found.files.map((file) => [file.path, file.what]),
      ),
    ];
    return lines.join('\n');
  });
}
