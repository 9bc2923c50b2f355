/**
 * The life of a protected item (R53, R54, R59), as one table; whoever changes an item asks it first.
 *
 * ```
 *             protect                first backup
 *   (none) ─────────────► IRPending ─────────────► Protected ◄───────────────┐
 *                             │                     │   ▲ │                  │
 *                             │ stopRetain          │   │ │ stopByPolicy     │ resume, with points
 *                             ▼                     │   │ ▼                  │ (without: IRPending)
 *                      ProtectionStopped ◄──────────┘  BackupsSuspended ─────┤
 *                          │   ▲   └─────────────────────────────────────────┘
 *          delete, from    │   │ undelete
 *          every state     ▼   │
 *                      soft-deleted ──purge, at its time──► (none)      delete with soft delete off ──► (none)
 * ```
 * Soft-deleted shows as ProtectionStopped in Azure's API, with the deletion's dates. An item that is deleted while soft
 * delete is off is soft-deleted, too, until its job has ended; its time is over from the start (`isOver`), so that it
 * cannot be undeleted, whatever the job waits for.
 */
import { HoldfastError, type ErrorCode } from '#base';

export type ItemState =
  | 'IRPending'
  | 'Protected'
  | 'ProtectionStopped'
  | 'BackupsSuspended'
  | 'SoftDeleted';

export type ItemAction =
  | 'backUp'
  | 'changePolicy'
  | 'stopRetain'
  | 'stopByPolicy'
  | 'resume'
  | 'delete'
  | 'undelete'
  | 'purge'
  | 'restore'
  /** Pins, extends, deletes one of its points. */
  | 'holdPoint'
  | 'protect';

/** Whether its data goes. One that was deleted while soft delete was off is over from the start, whatever the clock says. */
export function isOver(
  { state, deletedAt = 0, purgeAt = Infinity }: Deletion,
  nowMs: number,
): boolean {
  return state === 'SoftDeleted' && purgeAt <= Math.max(nowMs, deletedAt);
}

type Deletion = {
  readonly state: ItemState;
  readonly deletedAt: number | undefined;
  readonly purgeAt: number | undefined;
};

type Refusal = { readonly code: ErrorCode; readonly why: string };

const ACTIVE: readonly ItemState[] = ['IRPending', 'Protected'];
const STOPPED: readonly ItemState[] = ['ProtectionStopped', 'BackupsSuspended'];
const KEPT: readonly ItemState[] = [...ACTIVE, ...STOPPED];

const ALLOWED: Readonly<Record<ItemAction, readonly ItemState[]>> = {
  backUp: ACTIVE,
  changePolicy: ACTIVE,
  stopRetain: [...ACTIVE, 'BackupsSuspended'],
  stopByPolicy: ['Protected'],
  resume: STOPPED,
  delete: KEPT,
  undelete: ['SoftDeleted'],
  purge: ['SoftDeleted'],
  restore: [...KEPT, 'SoftDeleted'],
  holdPoint: KEPT,
  /** An item that is there is protected anew only by resuming it. */
  protect: [],
};

const REFUSALS: Readonly<Record<ItemState, Refusal>> = {
  IRPending: {
    code: 'UserErrorInitialBackupPending',
    why: 'its first backup has not been taken yet',
  },
  Protected: { code: 'UserErrorItemAlreadyProtected', why: 'it is protected' },
  ProtectionStopped: {
    code: 'UserErrorProtectionStopped',
    why: 'its protection is stopped: resume it first',
  },
  BackupsSuspended: {
    code: 'UserErrorProtectionStopped',
    why: 'its backups are suspended: resume it first',
  },
  SoftDeleted: {
    code: 'UserErrorItemSoftDeleted',
    why: 'it is soft-deleted: undelete it first',
  },
};

/**
 * @param otherwise what else helps, for the end of the sentence.
 * @throws {HoldfastError} the refusal of its state, where the table has no such transition.
 */
export function requireAllowed(
  action: ItemAction,
  item: { readonly state: ItemState; readonly vmGroup: string; readonly vmName: string },
  otherwise = '',
): void {
  if (ALLOWED[action].includes(item.state)) return;
  const { code, why } = REFUSALS[item.state];
  const called = `${item.vmGroup}/${item.vmName}`;
  const message = `'${called}' cannot be ${PARTICIPLE[action]}: ${why}${otherwise}.`;
  throw new HoldfastError(code, message);
}

/** Why its state does not allow it; undefined: it does. */
export function whyNot(
  action: ItemAction,
  { state }: { readonly state: ItemState },
): string | undefined {
  return ALLOWED[action].includes(state) ? undefined : REFUSALS[state].why;
}

const PARTICIPLE: Readonly<Record<ItemAction, string>> = {
  backUp: 'backed up',
  changePolicy: 'given another policy',
  stopRetain: 'stopped',
  stopByPolicy: 'suspended',
  resume: 'resumed',
  delete: 'deleted',
  undelete: 'undeleted',
  purge: 'purged',
  restore: 'restored',
  holdPoint: 'changed in its points',
  protect: 'protected',
};

export function isItemState(text: string): text is ItemState {
  return text in REFUSALS;
}
