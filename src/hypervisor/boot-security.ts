/** What a VM's definition says of how its boot is secured; what it does not say is not assumed. */
import type { VmDefinition } from './vm.ts';

export type BootSecurity = {
  /** UEFI that can refuse what is not signed, with its variables out of the guest's reach. */
  readonly hasSecureBoot: boolean;
  /** A TPM of its own. */
  readonly hasTpm: boolean;
};

/** libvirt: https://libvirt.org/formatdomain.html, "Operating system booting" and "TPM device". */
const SECURE_LOADER = /<loader\b[^>]*\bsecure=['"]yes['"]/;
const SECURE_FEATURE = /<feature\b[^>]*\bname=['"]secure-boot['"][^>]*>/;
/** QEMU: the flash of the variables is written by the firmware only (docs/specs, edk2's README of secure boot). */
const SECURE_FLASH = /^(driver=)?cfi\.pflash01[.,](property=)?secure(,value)?=(on|true)$/;

export function bootSecurity(definition: VmDefinition): BootSecurity {
  const { vm, domainXml = '', commandLine = [], files } = definition;
  const [feature = ''] = SECURE_FEATURE.exec(domainXml) ?? [];
  const isSecure =
    SECURE_LOADER.test(domainXml) ||
    /\benabled=['"]yes['"]/.test(feature) ||
    commandLine.some((argument) => SECURE_FLASH.test(argument));
  const hasTpm =
    /<tpm\b/.test(domainXml) ||
    commandLine.includes('-tpmdev') ||
    files.some(({ role }) => role === 'tpm-state');
  return { hasSecureBoot: vm.firmware === 'uefi' && isSecure, hasTpm };
}
