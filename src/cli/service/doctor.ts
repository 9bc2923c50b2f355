/** `holdfast doctor`: whether catalogue and repositories agree, and what needs somebody. */
import { formatCount } from '../output/units.ts';
import type { ServiceContext } from './run-service-command.ts';

type Finding = {
  readonly severity: 'error' | 'warning';
  readonly where: string;
  readonly what: string;
  readonly advice: string;
};

/** @returns the exit code: 1 if there are errors; warnings alone are none. */
export async function examine({ service, terminal }: ServiceContext): Promise<number> {
  terminal.announce('looking at catalogue and repositories');
  const answer = await service.http.json('GET', `${service.root}/providers/Holdfast.Backup/doctor`);
  const findings = (answer as { readonly value: readonly Finding[] }).value;
  const errorCount = findings.filter(({ severity }) => severity === 'error').length;
  const warningCount = findings.length - errorCount;
  terminal.result({ isHealthy: errorCount === 0, findings }, () => {
    const told = findings.map(
      ({ severity, where, what, advice }) => `${severity}: ${where}: ${what}\n  ${advice}`,
    );
    const count = [
      ...(errorCount === 0 ? [] : [formatCount(errorCount, 'error')]),
      ...(warningCount === 0 ? [] : [formatCount(warningCount, 'warning')]),
    ];
    return [...told, count.length === 0 ? 'All is well.' : `${count.join(', ')}.`].join('\n');
  });
  return errorCount === 0 ? 0 : 1;
}
