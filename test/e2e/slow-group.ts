/** A group's backup in this process, in which the last VM has its snapshot half a second after the others. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { realClock } from '#base';
import { backUpVms, connectHypervisor, inScratch, withRepository, type Hypervisor } from '#backup';
import type { GroupSite } from './group-site.ts';

const LATE_MS = 500;
const clock = realClock();
const random = (size: number): Buffer => randomBytes(size);
const warn = (): void => undefined;

/** @param stands false: as it would be if no VM stood still for the others. @returns the points' ids. */
export async function slowGroup(
  site: GroupSite,
  { stands }: { readonly stands: boolean },
): Promise<readonly string[]> {
  const names = [...site.vms.keys()];
  const hypervisors: Hypervisor[] = [];
  for (const uri of site.vms.values()) {
    hypervisors.push(await connectHypervisor(uri, { clock, random }));
  }
  const identity = { pid: process.pid, host: 'test', command: 'test' };
  const caller = { clock, random, version: 'test', warn, process: identity };
  const { repository: location, folder } = site;
  try {
    return await withRepository(
      { location, access: 'own', waitMs: 10_000, caller },
      async (repository) =>
        await inScratch(folder, async (scratchDir) => {
          const { group } = await backUpVms({
            repository,
            members: names.map((vm, at) => {
              const lateMs = at === names.length - 1 ? LATE_MS : 0;
              return { vm, hypervisor: late(hypervisors[at]!, { lateMs, stands }) };
            }),
            scratchDir,
            quiesces: true,
            clock,
            warn,
          });
          return group.points.map(({ point }) => point);
        }),
    );
  } finally {
    for (const hypervisor of hypervisors) await hypervisor.close();
  }
}

function late(
  inner: Hypervisor,
  { lateMs, stands }: { readonly lateMs: number; readonly stands: boolean },
): Hypervisor {
  const prepare: Hypervisor['prepare'] = async ({ atRest, ...request }) => {
    const held = stands && atRest !== undefined ? { atRest } : {};
    const prepared = await inner.prepare({ ...request, ...held });
    return {
      ...prepared,
      snapshot: async () => {
        await sleep(lateMs);
        const snapshot = await prepared.snapshot();
        if (!stands) await atRest?.();
        return snapshot;
      },
    };
  };
  return new Proxy(inner, {
    get: (target, property) => {
      if (property === 'prepare') return prepare;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
