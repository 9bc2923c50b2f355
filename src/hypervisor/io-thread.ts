/**
 * Disks with I/O threads, which some QEMUs cannot show for a backup. QEMU 7.2 as its distributions have it
 * (7.2.22 of Debian 12) ends with a failed assertion when a client of an NBD export leaves whose disk has an
 * I/O thread ("qemu_in_main_thread() && nbd_server", blockdev-nbd.c): it counts its clients since CVE-2024-7409,
 * and only in QEMU 9.1 where it is allowed to. A VM must not die of its backup: there its disks are pushed.
 */

export type QemuVersion = { readonly major: number; readonly minor: number };

/** Whether this QEMU shows a disk with an I/O thread over NBD and lives on. */
export function showsThreadedDisks({ major, minor }: QemuVersion): boolean {
  return major > 9 || (major === 9 && minor >= 1);
}
