/**
 * What a session's threads send each other, made whole again: `Buffer`s arrive as plain `Uint8Array`s.
 */
import type { SealedPack } from '../pack/pack-writer.ts';
import type { WaitingFrames } from './block-writer.ts';

/** A sealed pack as it came by message. */
export function receivedPack(pack: SealedPack): SealedPack {
  const { packId, footer } = pack;
  return {
    ...pack,
    packId: asBuffer(packId),
    footer: { ...footer, packId: asBuffer(footer.packId), ids: asBuffer(footer.ids) },
  };
}

/** Frames left unsealed by another thread, as they came by message. */
export function receivedFrames(frames: WaitingFrames): WaitingFrames {
  return { data: frames.data.map(receivedFrame), page: frames.page.map(receivedFrame) };
}

function receivedFrame({
  frame,
  ids,
}: WaitingFrames['data'][number]): WaitingFrames['data'][number] {
  return { frame: { ...frame, bytes: asBuffer(frame.bytes) }, ids: asBuffer(ids) };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
