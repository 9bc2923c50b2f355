/**
 * What the machine can do at most: hash, compression and encryption measured singly, by CPU time of one
 * thread; what a first backup and a restore would take if they did nothing else, on all cores.
 */
import { createCipheriv, createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { runCommand, type Measured } from '../measuring/run-command.ts';
import {
  median,
  medianSeconds,
  printNote,
  printTable,
  RUN_COLUMNS,
  runCells,
  tell,
} from '../measuring/tables.ts';
import { holdfastTool } from '../measuring/tools.ts';
import {
  baseDisk,
  dataRanges,
  freshFolder,
  settleDisk,
  type Range,
  type Workplace,
} from '../measuring/workplace.ts';

const BLOCK = 16 * 1024;
const FRAME = 256 * 1024;
const SAMPLE_FRAMES = 1024;
const REPEATS = 5;
const MEBIBYTE = 1024 ** 2;

/** Work that every byte needs once, of so many bytes of the shared disk. */
type Work = { readonly title: string; readonly bytesPerSecond: number; readonly bytes: number };

export async function limits(place: Workplace): Promise<void> {
  const disk = baseDisk(place);
  const ranges = dataRanges(disk);
  const dataBytes = total(ranges.map(({ length }) => length));
  const { works, storedBytes, sealed } = measureWorks(sampleFrames(disk, ranges), dataBytes);
  const write = writeRate(join(place.folder, 'written'), sealed);
  printTable(
    'The machine’s limit, one thread',
    ['work', 'MiB/s', 'MiB of the disk', 'CPU s'],
    works.map((work) => [
      work.title,
      Math.round(work.bytesPerSecond / MEBIBYTE).toString(),
      Math.round(work.bytes / MEBIBYTE).toString(),
      seconds([work]).toFixed(2),
    ]),
  );
  printNote(
    `Writing what a first backup stores, synced: ${Math.round(write / MEBIBYTE)} MiB/s, ${(storedBytes / write).toFixed(2)} s.`,
  );
  const [hash, compress, seal, decompress] = works as [Work, Work, Work, Work];
  const runs = await timedCommands(place);
  const row = (title: string, measured: readonly Measured[], parts: readonly Work[]): string[] => {
    const limit = seconds(parts) / availableParallelism();
    const share = Math.round((limit / medianSeconds(measured)) * 100);
    return [title, ...runCells(measured), limit.toFixed(2), `${share} %`];
  };
  printTable(
    'Share of the limit',
    ['command', ...RUN_COLUMNS, 'seconds at the limit of all cores', 'share'],
    [
      row('first backup', runs.backups, [hash, compress, seal]),
      row('restore', runs.restores, [hash, decompress, seal]),
    ],
  );
}

function measureWorks(
  frames: readonly Buffer[],
  dataBytes: number,
): { readonly works: Work[]; readonly storedBytes: number; readonly sealed: Buffer[] } {
  const key = createSecretKey(randomBytes(32));
  const frameKey = randomBytes(32);
  const params = { [constants.ZSTD_c_compressionLevel]: 1 };
  const compressed = frames.map((frame) => zstdCompressSync(frame, { params }));
  const sealed = compressed.map((frame, at) => (frame.length < FRAME ? frame : frames[at]!));
  const storedBytes = dataBytes * (total(sizes(sealed)) / total(sizes(frames)));
  const hash = (frame: Buffer): void => {
    for (let at = 0; at < FRAME; at += BLOCK) {
      createHmac('sha256', key)
        .update(frame.subarray(at, at + BLOCK))
        .digest();
    }
  };
  const compress = (frame: Buffer): void => {
    zstdCompressSync(frame, { chunkSize: FRAME, params });
  };
  const seal = (frame: Buffer): void => {
    const cipher = createCipheriv('aes-256-gcm', frameKey, Buffer.alloc(12));
    cipher.update(frame);
    cipher.final();
  };
  const decompress = (frame: Buffer): void => {
    zstdDecompressSync(frame, { chunkSize: FRAME + 64 });
  };
  const work = (title: string, bytes: number, bytesPerSecond: number): Work => ({
    title,
    bytes,
    bytesPerSecond,
  });

  const whole = total(sizes(frames));
  return {
    storedBytes,
    sealed,
    works: [
      work('HMAC-SHA-256 of 16 KiB blocks', dataBytes, whole / cpuSeconds(hash, frames)),
      work('zstd level 1 of 256 KiB frames', dataBytes, whole / cpuSeconds(compress, frames)),
      work(
        'AES-256-GCM of compressed frames',
        storedBytes,
        total(sizes(sealed)) / cpuSeconds(seal, sealed),
      ),
      work('zstd decompression', dataBytes, whole / cpuSeconds(decompress, compressed)),
    ],
  };
}

/** The median of some passes over all inputs, after one that is not counted. */
function cpuSeconds(run: (input: Buffer) => void, inputs: readonly Buffer[]): number {
  inputs.forEach(run);
  const passes = Array.from({ length: REPEATS }, () => {
    const before = process.cpuUsage();
    inputs.forEach(run);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1e6;
  });
  return median(passes);
}

/** Frames of real data from all over the disk. */
function sampleFrames(disk: string, ranges: readonly Range[]): Buffer[] {
  const starts = ranges.flatMap(({ offset, length }) =>
    Array.from({ length: Math.floor(length / FRAME) }, (_, at) => offset + at * FRAME),
  );
  const step = Math.max(1, Math.floor(starts.length / SAMPLE_FRAMES));
  const file = openSync(disk, 'r');
  const frames = starts
    .filter((_, at) => at % step === 0)
    .map((start) => {
      const frame = Buffer.alloc(FRAME);
      readSync(file, frame, 0, FRAME, start);
      return frame;
    });
  closeSync(file);
  return frames;
}

/** Bytes a second, of about a gigabyte. */
function writeRate(path: string, buffers: readonly Buffer[]): number {
  settleDisk();
  const file = openSync(path, 'w');
  const start = performance.now();
  let bytes = 0;
  for (let round = 0; round < 10; round++) {
    for (const buffer of buffers) bytes += writeSync(file, buffer);
  }
  fsyncSync(file);
  const took = (performance.now() - start) / 1000;
  closeSync(file);
  rmSync(path);
  return bytes / took;
}

async function timedCommands(
  place: Workplace,
): Promise<{ readonly backups: Measured[]; readonly restores: Measured[] }> {
  const tool = holdfastTool(place);
  const [backups, restores]: [Measured[], Measured[]] = [[], []];
  for (let round = 0; round < place.scale.rounds; round++) {
    await tool.prepare();
    settleDisk();
    backups.push(await runCommand(tool.backUp(baseDisk(place), { name: 'first' })));
    const to = freshFolder(place, 'restored');
    settleDisk();
    restores.push(await runCommand(tool.restore(to)));
    tell(
      `limits: ${backups.at(-1)!.seconds.toFixed(2)} s, ${restores.at(-1)!.seconds.toFixed(2)} s`,
    );
  }
  freshFolder(place, 'restored');
  return { backups, restores };
}

function seconds(works: readonly Work[]): number {
  return total(works.map(({ bytes, bytesPerSecond }) => bytes / bytesPerSecond));
}

function sizes(buffers: readonly Buffer[]): number[] {
  return buffers.map(({ length }) => length);
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
