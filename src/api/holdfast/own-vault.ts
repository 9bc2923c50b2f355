/** Where Holdfast's own requests about a vault are, and those about a recovery point in it. */
import { GROUP } from '../frame/route.ts';

export const OWN_VAULT = `${GROUP}/providers/Holdfast.Backup/vaults/{vault}` as const;

export const OWN_POINT =
  `${OWN_VAULT}/backupFabrics/{fabric}/protectionContainers/{container}/protectedItems/{item}/recoveryPoints/{point}` as const;
