/** What the machine can do at most: hash, compression and encryption singly on one core, writes to disk. */
import { createCipheriv, createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { runCommand } from '../measuring/run-command.ts';
import { median, medianSeconds, printNote, printTable, tell } from '../measuring/tables.ts';
import { holdfastTool } from '../measuring/tools.ts';
import { baseDisk, dataRanges, settleDisk, type Workplace } from '../measuring/workplace.ts';

const BLOCK = 16 * 1024;
const FRAME = 256 * 1024;
const SAMPLE = 1024;
const MEBIBYTE = 1024 ** 2;

type Limit = { readonly title: string; readonly mibPerSecond: number; readonly bytes: number };

export async function limits(place: Workplace): Promise<void> {
  const disk = baseDisk(place);
  const ranges = dataRanges(disk);
  const dataBytes = ranges.reduce((sum, { length }) => sum + length, 0);
  const frames = sampleFrames(disk, ranges);
  const compressed: Buffer[] = [];
  const key = createSecretKey(randomBytes(32));
  const frameKey = randomBytes(32);
  const rate = (run: (frame: Buffer, at: number) => void, inputs: readonly Buffer[]): number => {
    const bytes = inputs.reduce((sum, input) => sum + input.length, 0);
    const rates = Array.from({ length: place.scale.rounds }, () => {
      const start = performance.now();
      inputs.forEach(run);
      return bytes / MEBIBYTE / ((performance.now() - start) / 1000);
    });
    return median(rates);
  };
  const hash = rate((frame) => {
    for (let at = 0; at < frame.length; at += BLOCK) {
      createHmac('sha256', key)
        .update(frame.subarray(at, at + BLOCK))
        .digest();
    }
  }, frames);
  const params = { [constants.ZSTD_c_compressionLevel]: 1 };
  const zstd = rate((frame, at) => {
    compressed[at] = zstdCompressSync(frame, { chunkSize: FRAME, params });
  }, frames);
  const sealed = compressed.map((frame, at) =>
    frame.length < frames[at]!.length ? frame : frames[at]!,
  );
  const aes = rate((frame) => {
    const cipher = createCipheriv('aes-256-gcm', frameKey, Buffer.alloc(12));
    cipher.update(frame);
    cipher.final();
  }, sealed);
  const sum = (buffers: readonly Buffer[]): number =>
    buffers.reduce((all, { length }) => all + length, 0);
  const storedBytes = dataBytes * (sum(sealed) / sum(frames));
  const write = writeRate(join(place.folder, 'written'), sealed);
  const parts: Limit[] = [
    { title: 'HMAC-SHA-256 of 16 KiB blocks', mibPerSecond: hash, bytes: dataBytes },
    { title: 'zstd level 1 of 256 KiB frames', mibPerSecond: zstd, bytes: dataBytes },
    { title: 'AES-256-GCM of compressed frames', mibPerSecond: aes, bytes: storedBytes },
  ];
  await print(place, { parts, write, storedBytes });
}

/** Frames of real data from all over the disk. */
function sampleFrames(
  disk: string,
  ranges: readonly { offset: number; length: number }[],
): Buffer[] {
  const starts = ranges.flatMap(({ offset, length }) =>
    Array.from({ length: Math.floor(length / FRAME) }, (_, at) => offset + at * FRAME),
  );
  const step = Math.max(1, Math.floor(starts.length / SAMPLE));
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

function writeRate(path: string, buffers: readonly Buffer[]): number {
  settleDisk();
  const file = openSync(path, 'w');
  const start = performance.now();
  let bytes = 0;
  for (let round = 0; round < 4; round++)
    for (const buffer of buffers) bytes += writeSync(file, buffer);
  fsyncSync(file);
  const seconds = (performance.now() - start) / 1000;
  closeSync(file);
  rmSync(path);
  return bytes / MEBIBYTE / seconds;
}

async function print(
  place: Workplace,
  of: { readonly parts: readonly Limit[]; readonly write: number; readonly storedBytes: number },
): Promise<void> {
  const tool = holdfastTool(place);
  const runs = [];
  for (let round = 0; round < place.scale.rounds; round++) {
    await tool.prepare();
    settleDisk();
    runs.push(await runCommand(tool.backUp(baseDisk(place), { name: 'first' })));
    tell(`limits: first backup ${runs.at(-1)!.seconds.toFixed(2)} s`);
  }
  const seconds = ({ bytes, mibPerSecond }: Limit): number => bytes / MEBIBYTE / mibPerSecond;
  const rows = of.parts.map((part) => [
    part.title,
    Math.round(part.mibPerSecond).toString(),
    Math.round(part.bytes / MEBIBYTE).toString(),
    seconds(part).toFixed(2),
  ]);
  const cpu = of.parts.reduce((sum, part) => sum + seconds(part), 0);
  printTable(
    'The machine’s limit, one core',
    ['work', 'MiB/s', 'MiB of the first backup', 'seconds'],
    rows,
  );
  const took = medianSeconds(runs);
  printNote(
    `Together ${cpu.toFixed(2)} s of one core, ${(cpu / 2).toFixed(2)} s on two; the first backup took ${took.toFixed(2)} s: ${Math.round((cpu / 2 / took) * 100)} % of the limit. Writing what it stores, synced: ${Math.round(of.write)} MiB/s, ${(of.storedBytes / MEBIBYTE / of.write).toFixed(2)} s beside it.`,
  );
}
