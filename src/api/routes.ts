/** All routes of the API. A resource type adds its own here. */
import type { Route } from './frame/route.ts';
import { vaultRoutes } from './vaults/vaults.ts';

export const ROUTES: readonly Route[] = [...vaultRoutes];
