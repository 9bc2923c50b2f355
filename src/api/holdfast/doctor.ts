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
      /** Errors first; empty: all is well. */
      value: z.array(
        z.object({
          severity: z.enum(['error', 'warning']),
          where: z.string(),
          what: z.string(),
          advice: z.string(),
        }),
      ),
    }),
    handle: async ({ service }) => ok({ value: await examine(service) }),
  }),
];
