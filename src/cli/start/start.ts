/**
 * `npm start`: the service on a folder of the user's, in the foreground. Where there is nothing to protect it makes
 * a sample VM (not running: a folder with an image of real files), protects it and takes its first backup by the
 * commands that a user would type. What a start before has done already is left out.
 */
import { isHoldfastError, shellQuoted, throwIfCancelled } from '#base';
import { dataFolderOf } from '../serving/data-folder.ts';
import { parseListen } from '../serving/serve.ts';
import type { RunningService, Surroundings } from '../surroundings.ts';
import { untilAborted } from '../until-aborted.ts';
import { Sample } from './sample.ts';

export type Start = {
  readonly surroundings: Surroundings;
  readonly options: { readonly data?: string; readonly listen: string };
  /** Runs a command as the command line does. @returns its exit code. */
  readonly run: (args: readonly string[], surroundings: Surroundings) => Promise<number>;
};

/** @returns the exit code: that of a command of the sample that failed, else 0 at Ctrl-C. */
export async function start({ surroundings, options, run }: Start): Promise<number> {
  const { stdout, signal, environment } = surroundings;
  const data = dataFolderOf(options, surroundings);
  const service = await listening(surroundings, data, options.listen);
  try {
    stdout.write(`Holdfast serves ${data} at ${service.url}\n`);
    const own = { ...environment, service: { ...environment.service, data } };
    const sample = new Sample({
      data,
      say: (text) => void stdout.write(`${text}\n`),
      run: async (args) => await run(args, { ...surroundings, environment: own }),
      throwIfCancelled: () => throwIfCancelled(signal),
    });
    const exitCode = await sample.make({ ...surroundings, environment: own });
    if (exitCode !== 0) return exitCode;
    stdout.write(nextSteps(data, sample.isThere));
    await untilAborted(signal);
    stdout.write('Ending: what runs goes on at the next start.\n');
    return 0;
  } finally {
    await service.close();
  }
}

/** At `listen`; where that is taken, at a free port of the same address. */
async function listening(
  surroundings: Surroundings,
  data: string,
  listen: string,
): Promise<RunningService> {
  const wanted = { data, certificate: undefined, hasManagedIdentity: false, logsAll: false };
  const at = parseListen(listen);
  try {
    return await surroundings.serve({ ...wanted, ...at });
  } catch (error) {
    if (!isHoldfastError(error, 'ListenFailed')) throw error;
    return await surroundings.serve({ ...wanted, ...at, port: 0 });
  }
}

function nextSteps(data: string, hasSample: boolean): string {
  const folder = shellQuoted(data);
  const vm = hasSample ? 'sample-vm' : 'VM';
  return `
In another shell, with az (Debian: apt install azure-cli) or holdfast:

  export PATH="$PWD/bin:$PATH"
  eval "$(holdfast env --data ${folder})"
  az backup vault list --output table
  holdfast vm list

What to try next:

  holdfast backup ${vm}                                   another recovery point
  holdfast restore ${vm} latest                           its disks, into the storage account
  holdfast host add machine --connect qemu:///system          your own VMs
  holdfast protect VM                                         back one of them up every day
  holdfast vault recovery-key                                 a key to keep elsewhere
  holdfast doctor                                             whether all is well

docs/quickstart.md goes through it. Ctrl-C ends the service; npm start goes on with it.
`;
}
