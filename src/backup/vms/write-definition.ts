/** The definition of a point's VM as files, for whoever restores its disks alone. */
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { makeFolders } from '#base';
import type { Repository } from '#repository';
import { definitionOf, vmPoint } from './vm-point.ts';

/**
 * Writes into `directory` what the VM needs beside its disks: `vmconfig.json` (the VM as it was seen, and QEMU's
 * arguments where it had some), `domain.xml` (libvirt), UEFI variables and TPM state under their own names.
 *
 * @returns the paths of the files.
 * @throws {HoldfastError} `PointNotFound`; `DefinitionUnsupported` if the point holds disks without a VM.
 */
export async function writeDefinition(
  repository: Repository,
  point: string,
  directory: string,
): Promise<readonly string[]> {
  const { hypervisor, vm, domainXml, commandLine, workingDirectory, files } = definitionOf(
    await vmPoint(repository, point),
  );
  await makeFolders(directory);
  const config = { point, hypervisor, vm, commandLine, workingDirectory };
  const written: { readonly name: string; readonly content: string | Buffer }[] = [
    { name: 'vmconfig.json', content: `${JSON.stringify(config, null, 2)}\n` },
    ...(domainXml === undefined ? [] : [{ name: 'domain.xml', content: domainXml }]),
    ...files.map(({ role, path, content }) => ({ name: `${role}-${basename(path)}`, content })),
  ];
  for (const { name, content } of written) await writeFile(join(directory, name), content);
  return written.map(({ name }) => join(directory, name));
}
