/**
 * The tiny guest as a UEFI guest: a disk with an EFI system partition that holds kernel and initrd under names
 * that no firmware looks for, and UEFI variables whose one boot entry names them and has the kernel's command
 * line. It boots by these variables or not at all.
 */
import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tool } from './libvirt-guest.ts';
import { tinyGuestFolder } from './tiny-guest.ts';

export const UEFI_CODE = '/usr/share/OVMF/OVMF_CODE_4M.fd';
const EMPTY_VARIABLES = '/usr/share/OVMF/OVMF_VARS_4M.fd';
/** EFI_GLOBAL_VARIABLE, as it lies in memory. */
const GLOBAL = Buffer.from('61dfe48bca93d211aa0d00e098032b8c', 'hex');
/** Kept, seen at boot and at run time. */
const ATTRIBUTES = 7;
const ENTRY = 0x0042;

/** @returns the paths of a qcow2 image and of UEFI variables in `folder`. */
export async function makeUefiDisk(
  folder: string,
): Promise<{ readonly disk: string; readonly variables: string }> {
  const guest = await tinyGuestFolder();
  const files = join(folder, 'esp');
  await mkdir(files);
  await copyFile(join(guest, 'bzImage'), join(files, 'tiny.efi'));
  await copyFile(join(guest, 'initrd'), join(files, 'tiny.ird'));
  const disk = join(folder, 'uefi.qcow2');
  const raw = join(folder, 'uefi.raw');
  // QEMU shows a folder as a disk with an MBR and one FAT partition.
  await tool('qemu-img', 'convert', '-O', 'raw', `fat:16:${files}`, raw);
  await tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, disk);
  const master = (await readFile(raw)).subarray(0, 512);
  await rm(files, { recursive: true });
  await rm(raw);
  const environment = await readFile(join(guest, 'guest.env'), 'utf8');
  const [, commandLine] = /^TG_CMDLINE="(.*)"$/m.exec(environment) ?? [];
  assert.ok(commandLine !== undefined);
  const variables = join(folder, 'variables.fd');
  const option = loadOption(master, {
    file: '\\tiny.efi',
    commandLine: `initrd=\\tiny.ird ${commandLine}`,
  });
  const order = Buffer.alloc(2);
  order.writeUInt16LE(ENTRY);
  const empty = await readFile(EMPTY_VARIABLES);
  const one = withVariable(empty, `Boot${ENTRY.toString(16).padStart(4, '0')}`, option);
  await writeFile(variables, withVariable(one, 'BootOrder', order), { mode: 0o600 });
  return { disk, variables };
}

/** EFI_LOAD_OPTION (UEFI specification, 3.1.3), with the first partition of the MBR `master`. */
function loadOption(
  master: Buffer,
  option: { readonly file: string; readonly commandLine: string },
): Buffer {
  const partition = Buffer.alloc(42);
  partition.set([4, 1, 42, 0, 1]);
  partition.writeBigUInt64LE(BigInt(master.readUInt32LE(0x1be + 8)), 8);
  partition.writeBigUInt64LE(BigInt(master.readUInt32LE(0x1be + 12)), 16);
  master.copy(partition, 24, 0x1b8, 0x1b8 + 4);
  partition.set([1, 1], 40);
  const path = ucs2(option.file);
  const file = Buffer.alloc(4);
  file.set([4, 4]);
  file.writeUInt16LE(4 + path.length, 2);
  const devicePath = Buffer.concat([partition, file, path, Buffer.from([0x7f, 0xff, 4, 0])]);
  const head = Buffer.alloc(6);
  head.writeUInt32LE(1);
  head.writeUInt16LE(devicePath.length, 4);
  return Buffer.concat([head, ucs2('Tiny'), devicePath, ucs2(option.commandLine)]);
}

/** The store (EDK II's VariableFormat.h, authenticated) with one variable more at its end. */
function withVariable(store: Buffer, name: string, data: Buffer): Buffer {
  const grown = Buffer.from(store);
  let at = store.readUInt16LE(48) + 28;
  while (store.readUInt16LE(at) === 0x55aa) {
    at += 60 + store.readUInt32LE(at + 36) + store.readUInt32LE(at + 40);
    at = Math.ceil(at / 4) * 4;
  }
  assert.equal(store.readUInt16LE(at), 0xffff, 'the store has room');
  const text = ucs2(name);
  const head = Buffer.alloc(60);
  head.writeUInt16LE(0x55aa);
  head.writeUInt8(0x3f, 2);
  head.writeUInt32LE(ATTRIBUTES, 4);
  head.writeUInt32LE(text.length, 36);
  head.writeUInt32LE(data.length, 40);
  GLOBAL.copy(head, 44);
  Buffer.concat([head, text, data]).copy(grown, at);
  return grown;
}

function ucs2(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf16le');
}
