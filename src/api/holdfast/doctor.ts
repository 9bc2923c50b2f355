/** Holdfast.Backup/doctor: whether catalogue and repositories agree, and what needs its owner. */
import { z } from 'zod';
import { examine } from '#service';
import { ok, route, SUBSCRIPTION } from '../frame/route.ts';

export const doctorRoutes = [
  route({
    method: 'GET',
    path: `${SUBSCRIPTION}/providers/Holdfast.Backup/doctor`,
    summary: 'Examines the service: what is wrong, where, and what to do',
    answer: z.object({
      /** `Error` where one of the findings is one, else `Warning`, else `Healthy`. */
      status: z.enum(['Healthy', 'Warning', 'Error']),
      findings: z.array(
        z.object({
          severity: z.enum(['error', 'warning']),
          where: z.string(),
          what: z.string(),
          advice: z.string(),
        }),
      ),
    }),
    handle: async ({ service }) => {
      const findings = await examine(service);
      const isWrong = findings.some(({ severity }) => severity === 'error');
      const status = isWrong ? 'Error' : findings.length > 0 ? 'Warning' : 'Healthy';
      return ok({ status, findings });
    },
  }),
];
