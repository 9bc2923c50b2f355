/** One worker thread of a restore: opens frames, checks their blocks, writes them where they belong. */
import { freeMemory, isHoldfastError, realClock, throwIfCancelled } from '#base';
import { openTarget } from '#disk';
import {
  FrameOpener,
  readRecord,
  RECORD_BYTES,
  type OpenedFrame,
  type PlaceRecord,
  type RestoreTask,
} from '#repository';
import { openStore, type ObjectStore } from '#storage';
import { addDone } from '../progress-meter.ts';
import type {
  FailedPlace,
  RestoreBeginData,
  RestoreWorkerCalls,
  ZeroTask,
} from './restore-calls.ts';
import { TargetWriter } from './target-writer.ts';

type Open = {
  readonly store: ObjectStore;
  readonly opener: FrameOpener;
  readonly writers: readonly TargetWriter[];
  readonly done: BigInt64Array;
  readonly signal: AbortSignal;
};

type FrameRecords = { readonly frame: number; readonly records: readonly PlaceRecord[] };

/** Blocks of one frame that lie side by side on one disk. */
type Run = { readonly disk: number; readonly block: number; readonly pieces: Buffer[] };

export function restoreWorker(): RestoreWorkerCalls {
  const stopping = new AbortController();
  let open: Open | undefined;
  const opened = (): Open => {
    if (open === undefined) throw new Error('the restore has not begun');
    return open;
  };
  return {
    begin: async (data) => {
      open = await openAll(data, stopping.signal);
    },
    restore: async (task) => await restoreTask(opened(), task),
    clear: async (task) => await clearTask(opened(), task),
    flush: async () => {
      const { writers } = opened();
      for (const writer of writers) await writer.flush();
      return writers.map((writer) => writer.writtenBytes);
    },
    stop: () => stopping.abort(),
    close: async () => {
      for (const writer of open?.writers ?? []) await writer.close();
      await open?.store.close();
    },
  };
}

async function openAll(
  { repository, targets, done }: RestoreBeginData,
  signal: AbortSignal,
): Promise<Open> {
  const clock = realClock();
  const store = await openStore(repository.location, { readOnly: true });
  const opener = new FrameOpener(store, repository.keyring);
  const writers: TargetWriter[] = [];
  for (const target of targets) {
    writers.push(new TargetWriter(await openTarget(target, { clock, signal }), opener.blockSize));
  }
  return { store, opener, writers, done: new BigInt64Array(done), signal };
}

async function restoreTask(
  open: Open,
  { packId, records }: RestoreTask,
): Promise<readonly FailedPlace[]> {
  const byFrame = recordsByFrame(Buffer.from(records.buffer, records.byteOffset, records.length));
  const failed: PlaceRecord[] = [];
  const wanted = byFrame.map(({ frame }) => frame);
  let at = 0;
  for await (const outcome of open.opener.open(Buffer.from(packId!), wanted)) {
    throwIfCancelled(open.signal);
    const { records: places } = byFrame[at++]!;
    if ('error' in outcome) failed.push(...places);
    else failed.push(...(await restoreFrame(open, outcome, places)));
    addDone(open.done, places.length * open.opener.blockSize);
  }
  return failed.map(({ id, disk, block }) => ({ id: new Uint8Array(id), disk, block }));
}

/** Writes the blocks of one frame, and frees it. @returns those that it does not hold. */
async function restoreFrame(
  { opener, writers }: Open,
  frame: OpenedFrame,
  places: readonly PlaceRecord[],
): Promise<PlaceRecord[]> {
  const { runs, failed } = runsOf(opener, frame, places);
  let left = runs.length;
  const written = (): void => {
    left -= 1;
    if (left === 0) freeMemory(frame.raw);
  };
  for (const { disk, block, pieces } of runs) {
    await writers[disk]!.write(block * opener.blockSize, joined(pieces), written);
  }
  return failed;
}

/** The blocks in runs that can be written at once. Each slot is checked once for all its places. */
function runsOf(
  opener: FrameOpener,
  frame: OpenedFrame,
  places: readonly PlaceRecord[],
): { readonly runs: readonly Run[]; readonly failed: PlaceRecord[] } {
  const runs: Run[] = [];
  const failed: PlaceRecord[] = [];
  const checked = new Map<number, { readonly id: Buffer; readonly content: Buffer }>();
  for (const place of places) {
    const known = checked.get(place.slot);
    const content =
      known?.id.equals(place.id) === true ? known.content : slotOf(opener, frame, place);
    if (content === undefined) {
      failed.push(place);
      continue;
    }
    checked.set(place.slot, { id: place.id, content });
    const last = runs.at(-1);
    if (last?.disk === place.disk && last.block + last.pieces.length === place.block) {
      last.pieces.push(content);
    } else runs.push({ disk: place.disk, block: place.block, pieces: [content] });
  }
  return { runs, failed };
}

function slotOf(opener: FrameOpener, frame: OpenedFrame, place: PlaceRecord): Buffer | undefined {
  try {
    return opener.slot(frame, place.slot, place.id);
  } catch (error) {
    if (isHoldfastError(error, 'ObjectDamaged')) return undefined;
    throw error;
  }
}

/** The pieces as one buffer: without copying where they lie side by side already. */
function joined(pieces: readonly Buffer[]): Buffer {
  const first = pieces[0]!;
  let end = first.byteOffset;
  for (const piece of pieces) {
    if (piece.buffer !== first.buffer || piece.byteOffset !== end) return Buffer.concat(pieces);
    end += piece.length;
  }
  return Buffer.from(first.buffer, first.byteOffset, end - first.byteOffset);
}

async function clearTask(open: Open, { disk, ranges }: ZeroTask): Promise<void> {
  for (let at = 0; at < ranges.length; at += 2) {
    throwIfCancelled(open.signal);
    await open.writers[disk]!.clear(ranges[at]!, ranges[at + 1]!);
  }
}

function recordsByFrame(records: Buffer): FrameRecords[] {
  const frames: { frame: number; records: PlaceRecord[] }[] = [];
  for (let at = 0; at < records.length / RECORD_BYTES; at += 1) {
    const record = readRecord(records, at);
    const last = frames.at(-1);
    if (last?.frame === record.frame) last.records.push(record);
    else frames.push({ frame: record.frame, records: [record] });
  }
  return frames;
}
