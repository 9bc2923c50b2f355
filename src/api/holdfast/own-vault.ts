/** Where Holdfast's own requests about a vault are. */
import { GROUP } from '../frame/route.ts';

export const OWN_VAULT = `${GROUP}/providers/Holdfast.Backup/vaults/{vault}` as const;
