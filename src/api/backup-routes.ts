/** The routes that protect, back up, list and restore VMs. */
import type { Route } from './frame/route.ts';
import { containerRoutes } from './items/containers.ts';
import { protectedItemRoutes } from './items/protected-items.ts';
import { jobRoutes } from './jobs/jobs.ts';
import { locationRoutes } from './locations/locations.ts';
import { pointRoutes } from './points/points.ts';
import { restoreRoutes } from './restores/restores.ts';
import { vaultUsageRoutes } from './vaults/vault-usage.ts';

export const backupRoutes: readonly Route[] = [
  ...locationRoutes,
  ...containerRoutes,
  ...protectedItemRoutes,
  ...pointRoutes,
  ...restoreRoutes,
  ...jobRoutes,
  ...vaultUsageRoutes,
];
