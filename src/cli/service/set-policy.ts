/** `holdfast policy set`: a change that recovery points would go by is asked about first. */
import { canPrompt } from '../password/prompt.ts';
import { formatCount } from '../output/units.ts';
import { confirm } from './confirm.ts';
import { inOptions } from './policy-faults.ts';
import { previewEdit, type Preview } from './policy-preview.ts';
import { describe, findPolicy, pathOf, wanted, type PolicyChange } from './policies.ts';
import type { WirePolicyResource } from './policy-wire.ts';
import type { ServiceContext } from './run-service-command.ts';

/** @throws {UsageError} where points would go, nobody can be asked and `--yes` was not given. */
export async function setPolicy(
  context: ServiceContext,
  name: string,
  { yes, ...options }: PolicyChange & { readonly yes?: boolean },
): Promise<void> {
  const { service, terminal } = context;
  const { vault, policy: before } = await findPolicy(service, name, options.vault);
  const properties = await wanted(options, before.properties);
  if (yes !== true) {
    const of = { vault, policy: before.name, properties };
    const preview = await inOptions(options, async () => await previewEdit(service, of));
    // What an immutable vault refuses anyway is not asked about.
    const { lost, sooner } = preview.refusal === undefined ? effectOf(preview) : NOTHING;
    const told = [lost, sooner].filter((text) => text !== undefined).join('; ');
    // Where nobody can be asked, what only expires sooner is no reason to refuse: raised again, it stays.
    if (lost !== undefined || (sooner !== undefined && canPrompt(context.surroundings))) {
      await confirm(context, `change ${before.name}: ${told} ${SHOWN_BY}`, yes);
    } else if (sooner !== undefined) {
      terminal.note(`By this change ${told} ${SHOWN_BY}.`);
    }
  }
  const at = pathOf(service, vault, before.name);
  const put = async () => await service.http.json('PUT', at, { body: { properties } });
  const policy = (await inOptions(options, put)) as WirePolicyResource;
  terminal.result(policy, () => describe(vault, policy));
}

const SHOWN_BY = '(holdfast policy preview with the same options shows which)';

type PointChange = Preview['value'][number]['recoveryPoints'][number];

type Effect = { readonly lost: string | undefined; readonly sooner: string | undefined };
const NOTHING: Effect = { lost: undefined, sooner: undefined };

/** What points lose, in words; undefined: none does. */
export function effectOf(preview: Preview): Effect {
  return { lost: lostText(preview), sooner: soonerText(preview) };
}

/** Undefined: every point that is kept stays so. */
function lostText(preview: Preview): string | undefined {
  const lost = countOf(preview, ({ fate, before }) => fate !== 'Kept' && before.fate === 'Kept');
  return lost && `${lost} no longer kept`;
}

/** Undefined: none expires sooner than now, but what is lost. */
function soonerText(preview: Preview): string | undefined {
  const sooner = countOf(preview, ({ fate, expiryTime, before }) => {
    if (fate !== 'Kept' || before.fate !== 'Kept' || expiryTime === undefined) return false;
    return (
      before.expiryTime === undefined || Date.parse(expiryTime) < Date.parse(before.expiryTime)
    );
  });
  return sooner && `${sooner} kept less long`;
}

/** `3 recovery points of 2 VMs are` */
function countOf({ value }: Preview, isSuch: (point: PointChange) => boolean): string | undefined {
  const counts = value
    .map(({ recoveryPoints }) => recoveryPoints.filter(isSuch).length)
    .filter((count) => count > 0);
  const points = counts.reduce((sum, count) => sum + count, 0);
  if (points === 0) return undefined;
  return `${formatCount(points, 'recovery point')} of ${formatCount(counts.length, 'VM')} ${points === 1 ? 'is' : 'are'}`;
}
