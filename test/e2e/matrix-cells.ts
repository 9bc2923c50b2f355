/**
 * The compatibility matrix: by hypervisor, state, format of the images, guest agent and number of disks. The
 * cells that differ: an agent is asked only of a VM that runs, and a VM that is off has neither QMP socket nor
 * agent, so that it is a folder of images there.
 */

export type Cell = {
  readonly hypervisor: 'QEMU' | 'libvirt';
  readonly state: 'running' | 'paused' | 'off';
  readonly format: 'qcow2' | 'raw';
  readonly agent: 'answers' | 'none' | 'hung';
  readonly disks: 1 | 4;
};

/** What Holdfast is to say, by the rules of 5.8 and by what can be tracked. */
export type Expected = { readonly consistency: string; readonly tracking: 'bitmap' | 'compare' };

export const CELLS: readonly Cell[] = (['QEMU', 'libvirt'] as const).flatMap((hypervisor) =>
  (['running', 'paused', 'off'] as const).flatMap((state) =>
    agentsOf(state).flatMap((agent) =>
      (['qcow2', 'raw'] as const).flatMap((format) =>
        ([1, 4] as const).map((disks) => ({ hypervisor, state, format, agent, disks })),
      ),
    ),
  ),
);

function agentsOf(state: Cell['state']): readonly Cell['agent'][] {
  if (state === 'running') return ['answers', 'none', 'hung'];
  return state === 'paused' ? ['answers'] : ['none'];
}

export function titleOf({ hypervisor, state, format, agent, disks }: Cell): string {
  const where = hypervisor === 'QEMU' && state === 'off' ? 'QEMU as images' : hypervisor;
  const count = disks === 1 ? 'one disk' : 'four disks';
  return `${where}, ${state}, ${format}, ${agentTitle(state, agent)}, ${count}`;
}

function agentTitle(state: Cell['state'], agent: Cell['agent']): string {
  if (state !== 'running') return 'agent not asked';
  return agent === 'answers' ? 'agent answers' : agent === 'none' ? 'no agent' : 'agent hung';
}

/** QEMU keeps a bitmap of a raw image until it ends; libvirt refuses to make one; a file has none. */
export function expectedOf({ hypervisor, state, format, agent }: Cell): Expected {
  const isFrozen = state === 'running' && agent === 'answers';
  const isTracked = format === 'qcow2' || (hypervisor === 'QEMU' && state !== 'off');
  return {
    consistency: isFrozen ? 'FileSystemConsistent' : 'CrashConsistent',
    tracking: isTracked ? 'bitmap' : 'compare',
  };
}
