/**
 * Errors a caller can act on. Everything else is a bug: assert, and let the job crash.
 *
 * A code says what happened; its traits say what to do. No error knows about HTTP or exit codes:
 * `api` and `cli` map kinds once. `docs/errors.md` lists the same codes, and test/docs.test.ts keeps
 * them equal.
 */

export type ErrorKind =
  | 'invalid'
  | 'notFound'
  | 'conflict'
  | 'unavailable'
  | 'corrupt'
  | 'cancelled';

type ErrorTraits = {
  readonly kind: ErrorKind;
  readonly retryable: boolean;
};

export const ERRORS = {
  AgentFailed: { kind: 'unavailable', retryable: false },
  AgentUnavailable: { kind: 'unavailable', retryable: true },
  ArgumentInvalid: { kind: 'invalid', retryable: false },
  BlockMissing: { kind: 'corrupt', retryable: false },
  BMSUserErrorInvalidPolicyInput: { kind: 'invalid', retryable: false },
  BMSUserErrorInvalidVaultConfig: { kind: 'invalid', retryable: false },
  BMSUserErrorJobNotFound: { kind: 'notFound', retryable: false },
  BMSUserErrorPolicyInUse: { kind: 'invalid', retryable: false },
  BMSUserErrorPolicyNotFound: { kind: 'notFound', retryable: false },
  BMSUserErrorProtectedItemNotFound: { kind: 'notFound', retryable: false },
  BMSUserErrorRecoveryPointNotFound: { kind: 'notFound', retryable: false },
  BMSUserErrorSoftDeleteAlwaysOn: { kind: 'conflict', retryable: false },
  BootNotFound: { kind: 'notFound', retryable: false },
  BootUnfinished: { kind: 'conflict', retryable: false },
  Cancelled: { kind: 'cancelled', retryable: true },
  CatalogueUnusable: { kind: 'corrupt', retryable: false },
  CatalogueUnwritable: { kind: 'unavailable', retryable: true },
  CertificateUnusable: { kind: 'invalid', retryable: false },
  ChargesNotFound: { kind: 'notFound', retryable: false },
  ConsistencyGroupInvalid: { kind: 'invalid', retryable: false },
  CopyingVHDsFromBackUpVaultTakingLongTime: { kind: 'unavailable', retryable: true },
  DataFolderHeld: { kind: 'conflict', retryable: false },
  DefinitionUnsupported: { kind: 'invalid', retryable: false },
  DiskChanged: { kind: 'conflict', retryable: true },
  DiskFormatUnsupported: { kind: 'invalid', retryable: false },
  DiskInUse: { kind: 'conflict', retryable: true },
  DiskNotFound: { kind: 'notFound', retryable: false },
  DiskRangeInvalid: { kind: 'invalid', retryable: false },
  DiskReadFailed: { kind: 'unavailable', retryable: false },
  DiskUnavailable: { kind: 'unavailable', retryable: true },
  DiskUnsupported: { kind: 'invalid', retryable: false },
  DiskWriteFailed: { kind: 'unavailable', retryable: false },
  ExtensionFailedTimeoutGuestBusy: { kind: 'unavailable', retryable: false },
  ExtensionFailedVssServiceInBadState: { kind: 'unavailable', retryable: true },
  ExtensionFailedVssWriterInBadState: { kind: 'unavailable', retryable: true },
  FormatUnsupported: { kind: 'invalid', retryable: false },
  HintUnusable: { kind: 'conflict', retryable: true },
  HostInUse: { kind: 'conflict', retryable: false },
  HypervisorFailed: { kind: 'unavailable', retryable: true },
  HypervisorUnavailable: { kind: 'unavailable', retryable: true },
  IncorrectJSONConfigFile: { kind: 'invalid', retryable: true },
  IndexDamaged: { kind: 'corrupt', retryable: true },
  'InsufficientPermissionforPost-Script': { kind: 'invalid', retryable: true },
  'InsufficientPermissionforPre-Script': { kind: 'invalid', retryable: true },
  InvalidResourceName: { kind: 'invalid', retryable: false },
  InvalidTags: { kind: 'invalid', retryable: false },
  JobInterrupted: { kind: 'unavailable', retryable: true },
  KeySlotInvalid: { kind: 'corrupt', retryable: false },
  ListenFailed: { kind: 'unavailable', retryable: false },
  LogDamaged: { kind: 'corrupt', retryable: false },
  MasterKeyWrong: { kind: 'corrupt', retryable: false },
  NameAmbiguous: { kind: 'invalid', retryable: false },
  ObjectDamaged: { kind: 'corrupt', retryable: false },
  ObjectExists: { kind: 'conflict', retryable: false },
  ObjectNotFound: { kind: 'notFound', retryable: false },
  OperationNotFound: { kind: 'notFound', retryable: false },
  OutputExists: { kind: 'conflict', retryable: false },
  OwnerChanged: { kind: 'conflict', retryable: true },
  PasswordMissing: { kind: 'invalid', retryable: false },
  PasswordWrong: { kind: 'invalid', retryable: false },
  PointNotFound: { kind: 'notFound', retryable: false },
  'Post-ScriptExecutionFailed': { kind: 'unavailable', retryable: true },
  'Post-ScriptNotFound': { kind: 'notFound', retryable: true },
  'Post-ScriptTimeout': { kind: 'unavailable', retryable: true },
  'Pre-ScriptExecutionFailed': { kind: 'unavailable', retryable: true },
  'Pre-ScriptNotFound': { kind: 'notFound', retryable: true },
  'Pre-ScriptTimeout': { kind: 'unavailable', retryable: true },
  PreconditionFailed: { kind: 'conflict', retryable: false },
  PriceSheetInvalid: { kind: 'invalid', retryable: false },
  PrincipalNeeded: { kind: 'conflict', retryable: false },
  PrincipalNotFound: { kind: 'notFound', retryable: false },
  ProtocolViolation: { kind: 'unavailable', retryable: false },
  RepositoryExists: { kind: 'conflict', retryable: false },
  RepositoryHeld: { kind: 'conflict', retryable: true },
  RepositoryNotFound: { kind: 'notFound', retryable: false },
  RepositoryOfVault: { kind: 'conflict', retryable: false },
  RepositoryPresent: { kind: 'conflict', retryable: false },
  RepositoryRolledBack: { kind: 'corrupt', retryable: false },
  ResourceExists: { kind: 'conflict', retryable: false },
  ResourceGroupNotEmpty: { kind: 'conflict', retryable: false },
  ResourceGroupNotFound: { kind: 'notFound', retryable: false },
  ResourceNotFound: { kind: 'notFound', retryable: false },
  ServiceNotFound: { kind: 'invalid', retryable: false },
  ServiceResourceNotEmptyWithBackendMessage: { kind: 'invalid', retryable: false },
  ServiceUnavailable: { kind: 'unavailable', retryable: true },
  SessionEnded: { kind: 'conflict', retryable: false },
  SettingsInvalid: { kind: 'invalid', retryable: false },
  SignInDelayed: { kind: 'unavailable', retryable: true },
  SignInRefused: { kind: 'invalid', retryable: false },
  StorageAccountInUse: { kind: 'conflict', retryable: false },
  StorageAccountUnusable: { kind: 'invalid', retryable: false },
  StoreFailed: { kind: 'unavailable', retryable: true },
  StoreFull: { kind: 'unavailable', retryable: true },
  StoreReadOnly: { kind: 'conflict', retryable: false },
  StoreUnsupported: { kind: 'invalid', retryable: false },
  TokenInvalid: { kind: 'invalid', retryable: false },
  ToolMissing: { kind: 'unavailable', retryable: false },
  UserErrorBackupOperationInProgress: { kind: 'conflict', retryable: true },
  UserErrorFsFreezeFailed: { kind: 'unavailable', retryable: true },
  UserErrorInitialBackupPending: { kind: 'conflict', retryable: false },
  UserErrorInvalidDiskSelection: { kind: 'invalid', retryable: false },
  UserErrorInvalidInstantRpRetention: { kind: 'invalid', retryable: false },
  UserErrorInvalidRecoveryPointExpiry: { kind: 'invalid', retryable: false },
  UserErrorInvalidRetentionDuration: { kind: 'invalid', retryable: false },
  UserErrorItemAlreadyProtected: { kind: 'conflict', retryable: false },
  UserErrorItemSoftDeleted: { kind: 'conflict', retryable: false },
  UserErrorJobNotCancellable: { kind: 'conflict', retryable: false },
  UserErrorLastRecoveryPoint: { kind: 'conflict', retryable: false },
  UserErrorOperationDeniedOnImmutableItem: { kind: 'invalid', retryable: false },
  UserErrorPolicyTypeChangeNotAllowed: { kind: 'invalid', retryable: false },
  UserErrorProtectionStopped: { kind: 'conflict', retryable: false },
  UserErrorQuotaExceeded: { kind: 'conflict', retryable: false },
  UserErrorRecoveryPointNotDeleted: { kind: 'invalid', retryable: false },
  UserErrorRecoveryPointPinned: { kind: 'conflict', retryable: false },
  UserErrorRecoveryPointSoftDeleted: { kind: 'conflict', retryable: false },
  UserErrorRetentionChangeOfSuspendedItem: { kind: 'invalid', retryable: false },
  UserErrorRetentionReductionOnImmutableVault: { kind: 'invalid', retryable: false },
  UserErrorSoftDeleteEnded: { kind: 'conflict', retryable: false },
  UserErrorStorageAccountFull: { kind: 'conflict', retryable: false },
  UserErrorUnsupportedVaultImmutabilityStateChange: { kind: 'invalid', retryable: false },
  UserErrorVmNotFoundV2: { kind: 'notFound', retryable: false },
  UserErrorVmNotShutDown: { kind: 'conflict', retryable: false },
  VaultInUse: { kind: 'conflict', retryable: true },
  VaultRepositoryTaken: { kind: 'conflict', retryable: false },
  VaultUnavailable: { kind: 'conflict', retryable: true },
  VmBusy: { kind: 'conflict', retryable: true },
  VmExists: { kind: 'conflict', retryable: false },
  VmNotFound: { kind: 'notFound', retryable: false },
  VmNotRunning: { kind: 'conflict', retryable: true },
  VmNotShutDown: { kind: 'conflict', retryable: false },
} as const satisfies Record<string, ErrorTraits>;

export type ErrorCode = keyof typeof ERRORS;

/** `details` are facts for the operator (ids, offsets, sizes), never prose and never secrets. */
export type ErrorDetails = Readonly<Record<string, string | number>>;

export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: ErrorDetails } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  get kind(): ErrorKind {
    return ERRORS[this.code].kind;
  }
}

/** Whether `error` is a HoldfastError with this code. */
export function isHoldfastError(error: unknown, code?: ErrorCode): error is HoldfastError {
  return error instanceof HoldfastError && (code === undefined || error.code === code);
}

/** @throws {HoldfastError} `Cancelled` if the signal has been aborted. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw new HoldfastError('Cancelled', 'cancelled', { cause: signal.reason });
  }
}
