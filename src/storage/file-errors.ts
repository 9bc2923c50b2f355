/** What the operating system's error numbers mean for a store in a folder. */
import { HoldfastError, type ErrorCode } from '#base';

export type FileAction = {
  /** What was being done, with its size: "writing 4096 bytes of log/7". */
  readonly doing: string;
  readonly path: string;
  readonly access: 'read' | 'write';
};

/**
 * The store's error for a failed system call: ENOSPC and EDQUOT are `StoreFull`, a refused write is
 * `StoreReadOnly`, everything else `StoreFailed`, with the number in `details.errno`. What is not from
 * the operating system (a bug, or an error of ours) is returned as it is.
 */
export function fileError(error: unknown, action: FileAction): Error {
  const errno = errnoOf(error);
  if (error instanceof HoldfastError || errno === undefined) return error as Error;
  const [code, reason, advice] = meaningOf(errno, action.access);
  const what = code === 'StoreFull' ? action.path : `${action.doing} in ${action.path} (${errno})`;
  const text = advice === undefined ? `${reason}: ${what}` : `${reason}: ${what}; ${advice}`;
  return new HoldfastError(code, text, {
    cause: error,
    details: { path: action.path, errno },
  });
}

/** The same for a failed `link`: a file system without hard links is `StoreUnsupported`. */
export function linkError(error: unknown, action: FileAction): Error {
  const errno = errnoOf(error);
  if (errno === undefined || !WITHOUT_LINKS.has(errno)) return fileError(error, action);
  return new HoldfastError(
    'StoreUnsupported',
    `the file system of ${action.path} has no hard links (${errno}): use one that has, for ` +
      'example ext4 or xfs',
    { cause: error },
  );
}

/** What `link` answers on FAT, exFAT, some FUSE and network file systems, or across two of them. */
const WITHOUT_LINKS: ReadonlySet<string> = new Set([
  'EPERM',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EXDEV',
]);

/** The name of the system's error number ("ENOENT"), or undefined for any other error. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('errno' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Root leaves what it writes into a folder of ours to the folder's owner. */
const AS_OWNER = 'run as the owner of the folder, or as root';

/** Code, reason and advice. */
function meaningOf(errno: string, access: 'read' | 'write'): [ErrorCode, string, string?] {
  if (errno === 'ENOSPC') return ['StoreFull', 'no space left in the store'];
  if (errno === 'EDQUOT') return ['StoreFull', 'the disk quota of the store is used up'];
  if (errno === 'EROFS') return ['StoreReadOnly', 'the file system is mounted read-only'];
  if (errno === 'EACCES' || errno === 'EPERM') {
    return access === 'write'
      ? ['StoreReadOnly', 'no permission to write', AS_OWNER]
      : ['StoreFailed', 'no permission to read', AS_OWNER];
  }
  return ['StoreFailed', 'the file system reported an error'];
}
