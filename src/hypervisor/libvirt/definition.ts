/** Everything that a domain needs to start elsewhere: its XML with secrets, UEFI's variables, the TPM's state. */
import { readFile, readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, relative } from 'node:path';
import { HoldfastError } from '#base';
import type { DefinitionFile, VmDefinition } from '../vm.ts';
import { findDomain, type Domain } from './domain.ts';
import { readDomain } from './domain-xml.ts';
import type { Virsh } from './virsh.ts';

const SYSTEM_TPM_STATE_ROOT = '/var/lib/libvirt/swtpm';
const SYSTEM_NVRAM_PARENT = '/var/lib/libvirt/qemu';
/** Below the user's home: the same for `qemu:///session`. */
const USER_ROOT = '.config/libvirt/qemu';
/** swtpm's own, made anew at every start. */
const NOT_STATE = new Set(['.lock']);

/** Where libvirt keeps the state of emulated TPMs, a folder a domain by its UUID. Root's session is the system. */
export function tpmStateRootOf(uri: string): string {
  return isOfUser(uri) ? join(homedir(), USER_ROOT, 'swtpm') : SYSTEM_TPM_STATE_ROOT;
}

function isOfUser(uri: string): boolean {
  return uri.includes(':///session') && process.getuid?.() !== 0;
}

/** The XML is the inactive one: what the VM has at its next start, without names of this run. */
export async function readDefinition(
  virsh: Virsh,
  name: string,
  tpmStateRoot: string,
): Promise<VmDefinition> {
  const domain = await findDomain(virsh, name);
  const domainXml = await virsh.run(['dumpxml', domain.uuid, '--inactive', '--security-info']);
  const { tpmVersion } = readDomain(domainXml);
  const nvramPath = await variablesOf(virsh, domain, domainXml);
  const files: DefinitionFile[] = [];
  // Absent before the first start: libvirt makes both from their templates then.
  if (nvramPath !== undefined) {
    const content = await readIfThere(nvramPath);
    if (content !== undefined) files.push({ role: 'uefi-variables', path: nvramPath, content });
  }
  if (tpmVersion !== undefined) {
    files.push(...(await readTpmState(join(tpmStateRoot, domain.uuid))));
  }
  return { hypervisor: 'libvirt', vm: domain.vm, domainXml, files };
}

/**
 * Where libvirt chooses the firmware itself (`firmware='efi'`), only the running domain's XML names the variables;
 * of one that is off they are where libvirt puts them.
 */
async function variablesOf(
  virsh: Virsh,
  { uuid, state }: Domain,
  domainXml: string,
): Promise<string | undefined> {
  const { nvramPath, firmware, name } = readDomain(domainXml);
  if (nvramPath !== undefined || firmware === 'bios') return nvramPath;
  const running = state === 'off' ? undefined : await virsh.run(['dumpxml', uuid]);
  const path = running === undefined ? undefined : readDomain(running).nvramPath;
  const root = isOfUser(virsh.uri) ? join(homedir(), USER_ROOT) : SYSTEM_NVRAM_PARENT;
  return path ?? join(root, 'nvram', `${name}_VARS.fd`);
}

async function readTpmState(folder: string): Promise<DefinitionFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(absent);
  const files = (entries ?? []).filter((entry) => entry.isFile() && !NOT_STATE.has(entry.name));
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).toSorted();
  const contents = await Promise.all(paths.map(async (path) => await readIfThere(path)));
  return paths.flatMap((path, index) => {
    const content = contents[index];
    return content === undefined
      ? []
      : [{ role: 'tpm-state' as const, path: relative(folder, path), content }];
  });
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  return await readFile(path).catch(absent);
}

function absent(cause: NodeJS.ErrnoException): undefined {
  if (cause.code === 'ENOENT') return undefined;
  throw new HoldfastError(
    'HypervisorFailed',
    `cannot read a file of the VM's definition: ${cause.message}`,
    { cause },
  );
}
