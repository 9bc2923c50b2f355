/**
 * Repositories: the deduplicating, sealed, log-structured home of a vault's recovery points. Knows bytes,
 * blocks and points; no disks, no VMs. The format is docs/format.md, the room's map ARCHITECTURE.md.
 */
export { rebuildRepositoryIndex, Repository } from './repository.ts';
export { completeInit, initRepository } from './opening/init.ts';
export { tryLock, type OwnerLock } from './log/owner-lock.ts';
export { giveUpReserve, keepReserve } from './opening/reserve.ts';
export { placeInFolder, readIdentity, type OpenOptions } from './opening/open-options.ts';
export { BackupSession, type DiskResult } from './writing/backup-session.ts';
export { cancelReady, commitTogether, type ReadyPoint } from './writing/commit-together.ts';
export { newPointId } from './points/new-point-id.ts';
export {
  SessionThread,
  type IndexViewData,
  type SessionThreadData,
} from './writing/session-thread.ts';
export type { UnitWriter } from './writing/unit-writer.ts';
export { receivedFrames, receivedPack } from './writing/crossing.ts';
export type { SealedPack } from './pack/pack-writer.ts';
export type { DamagedCopy } from './reading/block-reader.ts';
export type { WaitingFrames } from './writing/block-writer.ts';
export { DEFAULT_BLOCK_SIZE, isBlockSize } from './keys/block-size.ts';
export {
  addKeySlot,
  listKeySlots,
  removeKeySlot,
  type KeySlotSummary,
  type NewSlotAccess,
} from './keys/key-slots.ts';
export { makeRecoveryKey } from './keys/recovery-key.ts';
export { readManifest, type Manifest } from './points/manifest.ts';
export { expirePoints, planExpiry, type ExpiryResult } from './expiry/expire.ts';
export { pointSizes, type PointSizes } from './points/point-sizes.ts';
export { storedByOwner, usedBytes } from './points/stored-by-owner.ts';
export { repositoryStatistics, type RepositoryStatistics } from './points/statistics.ts';
export { compactRepository, type CompactResult } from './compaction/compact.ts';
export { verifyRepository, type VerifyResult } from './verifying/verify.ts';
export { verifyMetadata } from './verifying/scratch-index.ts';
export { differingBlocks, forEachBlock } from './map/map-walk.ts';
export { markPacks } from './compaction/mark.ts';
export { reclaimMark } from './compaction/reclaim.ts';
export { RestorePlan, type RestoreTask } from './restoring/restore-plan.ts';
export { readRecord, RECORD_BYTES, type PlaceRecord } from './restoring/place-record.ts';
export { FrameOpener, type FrameOpenerData, type OpenedFrame } from './restoring/frame-opener.ts';
export { readDocument, writeDocument } from './documents/documents.ts';
export { readAmplification } from './compaction/plan.ts';
