/**
 * What a service that is killed works on: twenty small VMs whose content is known at every moment. Their images
 * change only while no service lives, so that each recovery point holds exactly one of the contents there were.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceSettings } from '../service-settings.ts';
import { GROUP } from './test-service.ts';

export const VM_COUNT = 20;
export const POLICY = 'often';
/** A consistency group of the first VMs. */
export const CONSISTENT = 'consistent';
export const CONSISTENT_COUNT = 3;
export const ACCOUNT = { group: GROUP, name: 'restored' };
const DISK_BYTES = 2 << 20;
const CHANGE_BYTES = 64 << 10;
const MINUTE_MS = 60_000;

export const KILL_SETTINGS: Partial<ServiceSettings> = {
  repositoryIdleMs: 100,
  retryDelayMs: 100,
  spreadMs: 60 * MINUTE_MS,
  discoveryIntervalMs: 10 * MINUTE_MS,
  attempts: 3,
};

export const vmName = (number: number): string => `vm${String(number).padStart(2, '0')}`;

export class KillWorld {
  readonly images: string;
  readonly account: string;
  readonly #temporary: string;
  readonly #contents = new Map<string, Buffer>();
  /** Hashes of all contents each VM has had. */
  readonly #known = new Map<string, Set<string>>();

  constructor(folder: string) {
    this.images = join(folder, 'images');
    this.account = join(folder, 'account');
    this.#temporary = join(folder, 'temporary');
    for (const path of [this.images, this.account, this.#temporary]) mkdirSync(path);
  }

  /** Makes the VMs: qcow2 with a few changes' worth of data. */
  create(random: (limit: number) => number): void {
    for (let number = 0; number < VM_COUNT; number += 1) {
      const vm = vmName(number);
      mkdirSync(join(this.images, vm));
      const content = Buffer.alloc(DISK_BYTES);
      for (let change = 0; change < 4; change += 1) overwrite(content, random);
      const raw = join(this.#temporary, 'raw');
      writeFileSync(raw, content);
      execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, this.#image(vm)]);
      this.#note(vm, content);
    }
  }

  /** Changes one VM's disk. */
  async change(random: (limit: number) => number): Promise<void> {
    const vm = vmName(Math.floor(random(VM_COUNT)));
    const content = this.#contents.get(vm)!;
    const { at, pattern } = overwrite(content, random);
    const write = `write -P ${pattern} ${at} ${CHANGE_BYTES}`;
    for (let tries = 0; ; tries += 1) {
      try {
        // A tool of the killed service may still be about to end, and hold the image.
        execFileSync('qemu-io', ['-f', 'qcow2', '-c', write, this.#image(vm)], { stdio: 'pipe' });
        break;
      } catch (error) {
        if (tries === 50) throw error;
        await sleep(100);
      }
    }
    this.#note(vm, content);
  }

  /** Whether a restored image holds one of the contents that the VM has had. */
  wasContentOf(vm: string, path: string): boolean {
    const raw = join(this.#temporary, 'restored');
    execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, raw]);
    const isKnown = this.#known.get(vm)!.has(hashOf(readFileSync(raw)));
    rmSync(raw);
    return isKnown;
  }

  #image(vm: string): string {
    return join(this.images, vm, 'os.qcow2');
  }

  #note(vm: string, content: Buffer): void {
    this.#contents.set(vm, content);
    const known = this.#known.get(vm) ?? new Set();
    this.#known.set(vm, known.add(hashOf(content)));
  }
}

function overwrite(
  content: Buffer,
  random: (limit: number) => number,
): { readonly at: number; readonly pattern: number } {
  const at = Math.floor(random((DISK_BYTES - CHANGE_BYTES) / 4096)) * 4096;
  const pattern = 1 + Math.floor(random(255));
  content.fill(pattern, at, at + CHANGE_BYTES);
  return { at, pattern };
}

function hashOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}
