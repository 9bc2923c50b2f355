/**
 * Disks with I/O threads, which some QEMUs cannot show for a backup. QEMU 7.2 as its distributions have it
 * (7.2.22 of Debian 12) ends with a failed assertion when a client of an NBD export leaves whose disk has an
 * I/O thread ("qemu_in_main_thread() && nbd_server", blockdev-nbd.c): it counts its clients since CVE-2024-7409,
 * and only in QEMU 9.1 where it is allowed to. A VM must not die of its backup.
 */

export type QemuVersion = { readonly major: number; readonly minor: number };

/** Why a disk with an I/O thread is not backed up while it runs in this QEMU; undefined: it can be. */
export function threadRefusal({ major, minor }: QemuVersion): string | undefined {
  if (major > 9 || (major === 9 && minor >= 1)) return undefined;
  return (
    `it has an I/O thread, and QEMU ${major}.${minor} can end when such a disk is read for a backup: ` +
    'remove the thread, update to QEMU 9.1, back it up while the VM is off, or exclude it'
  );
}
