/** `holdfast activities`: who did what, newest first. */
import { formatTable, left } from '../output/table.ts';
import type { ServiceContext } from './run-service-command.ts';
import { shortTime } from './time.ts';

type WireActivity = {
  readonly name: string;
  readonly properties: {
    readonly time: string;
    readonly actor: string;
    readonly actorName: string | null;
    readonly action: string;
    readonly target: string;
    readonly detail: Readonly<Record<string, unknown>>;
  };
};

const DEFAULT_LAST = 50;

export async function showActivities(
  { service, terminal }: ServiceContext,
  { last = DEFAULT_LAST }: { readonly last?: number },
): Promise<void> {
  const path = `${service.root}/providers/Holdfast.Backup/activities`;
  const found = (await service.firstOf<WireActivity>(path, last)).map(factsOf);
  terminal.result({ activities: found }, () => {
    if (found.length === 0) return 'Nothing has been done yet.';
    return formatTable(
      [left('TIME'), left('WHO'), left('DID'), left('WITH'), left('DETAILS')],
      found.map(({ time, actor, actorName, action, target, detail }) => [
        shortTime(time),
        actorName ?? actor,
        action,
        target,
        Object.entries(detail)
          .map(([name, value]) => `${name}: ${textOf(value)}`)
          .join(', '),
      ]),
    );
  });
}

function factsOf({ name: id, properties }: WireActivity) {
  return { id, ...properties };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
