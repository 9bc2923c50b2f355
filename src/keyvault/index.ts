/** Secrets and keys. Knows what is sealed, never what for. */
export { openMasterKey, type MasterKey } from './master-key.ts';
