/**
 * The data plane: takes recovery points of disks, restores them, serves them as disks. Joins the rooms
 * `disk` and `repository`, which do not know each other; knows no vaults and no users.
 */
export {
  createRepository,
  withRepository,
  type Caller,
  type NewRepository,
  type RepositoryRequest,
} from './open-repository.ts';
export { addKey, addRecoveryKey, listKeys, removeKey } from './repository-keys.ts';
