/**
 * The disk room: block devices as bytes and extents, wherever they live. Knows raw files, devices,
 * images through qemu-nbd, and NBD in both directions; knows nothing of backups or repositories.
 *
 * To read a disk: `prepareSource` in the main thread, `openSource(spec)` in each worker. To write one:
 * `createTarget`, `openTarget(spec)`, then `finish` or `discard`. To show one: `startNbdServer`.
 * For hypervisors: `NbdClient` with metadata contexts of their own, and QEMU's tools (`runTool`).
 */
export {
  ExtentCollector,
  alignExtents,
  intersectExtents,
  normaliseExtents,
  subtractExtents,
  totalBytes,
  type Extent,
} from './extent.ts';
export type { DiskSource, DiskSpec, DiskTarget, TargetSpec } from './disk-source.ts';
export { prepareSource, type PreparedDisk } from './prepare-source.ts';
export { openSource, openTarget } from './open-disk.ts';
export { createTarget, type PreparedTarget } from './create-target.ts';
export { createOverlay, readsBelow, refuseInUse } from './create-overlay.ts';
export { isServed, requireSocketPath, startNbdServer } from './nbd-server.ts';
export type { ServedDisk } from './served-disk.ts';
export { NbdClient } from './nbd-client.ts';
export { formatNbdUri, parseNbdUri } from './nbd-address.ts';
export { imageError, runTool, useOf } from './tool.ts';
export { inspectImage, inspectTop, type InspectedImage, type TopImage } from './inspect-image.ts';
export type { QemuBitmap } from './image-info.ts';
export { startImageServer, type ImageServer } from './image-server.ts';
