/**
 * A backup of a group that kills itself. Arguments: stage, repository, scratch folder, then for each VM its name and
 * how it is reached.
 *
 * | stage         | killed                                                                    |
 * | ------------- | ------------------------------------------------------------------------- |
 * | frozen        | when the first VM's turn to stand still has come: the guests are frozen   |
 * | at-rest       | when the last VM has its snapshot: all stand still                        |
 * | first, second | before the transfer of that VM                                            |
 * | before-commit | all is stored, and the manifests are there: the entry is about to be written |
 * | after-commit  | the entry is written, and nobody was told                                 |
 */
import { randomBytes } from 'node:crypto';
import { realClock } from '#base';
import { backUpVms, connectHypervisor, inScratch, withRepository, type Hypervisor } from '#backup';

const [stage = '', location = '', scratch = '', ...vms] = process.argv.slice(2);
const clock = realClock();
const names = vms.filter((_, at) => at % 2 === 0);
const uris = vms.filter((_, at) => at % 2 === 1);
const random = (size: number): Buffer => randomBytes(size);

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('killed');
}

let resting = 0;

/** As `inner`, but it dies in its stage. */
function dying(inner: Hypervisor): Hypervisor {
  return new Proxy(inner, {
    get: (target, property) => {
      if (property === 'prepare')
        return async (request: Parameters<Hypervisor['prepare']>[0]) => {
          const prepared = await target.prepare({
            ...request,
            atRest: async () => {
              resting += 1;
              if (stage === 'at-rest' && resting === names.length) die();
              await request.atRest?.();
            },
          });
          return {
            ...prepared,
            snapshot: async () => {
              if (stage === 'frozen') die();
              return await prepared.snapshot();
            },
          };
        };
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

const hypervisors: Hypervisor[] = [];
for (const uri of uris) hypervisors.push(dying(await connectHypervisor(uri, { clock, random })));
const warn = (): void => undefined;
const caller = {
  clock,
  random,
  version: 'test',
  warn,
  process: { pid: process.pid, host: 'test', command: 'test' },
};
await withRepository({ location, access: 'own', waitMs: 10_000, caller }, async (repository) => {
  const { parts } = repository;
  const append: typeof parts.append = async (event) => {
    let isCommit = false;
    const number = await parts.append((state) => {
      const made = event(state);
      isCommit = made?.type === 'points-committed';
      if (isCommit && stage === 'before-commit') die();
      return made;
    });
    if (isCommit && stage === 'after-commit') die();
    return number;
  };
  const watched = new Proxy(repository, {
    get: (target, property) => {
      if (property === 'parts') return { ...parts, append };
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  await inScratch(scratch, async (scratchDir) =>
    backUpVms({
      repository: watched,
      members: names.map((vm, at) => ({ vm, hypervisor: hypervisors[at]! })),
      scratchDir,
      quiesces: true,
      clock,
      warn,
      onTransfer: async (vm) => {
        if (stage === 'first' && vm === names[0]) die();
        if (stage === 'second' && vm === names[1]) die();
        await Promise.resolve();
      },
    }),
  );
});
