import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootSecurity } from './boot-security.ts';
import type { VmDefinition } from './vm.ts';

const definition = (more: Partial<VmDefinition>, firmware: 'bios' | 'uefi' = 'uefi') =>
  bootSecurity({
    hypervisor: 'libvirt',
    vm: {
      name: 'web',
      state: 'off',
      disks: [],
      firmware,
      networkCards: [],
      hasAgentChannel: false,
    },
    files: [],
    ...more,
  });

const TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>";

test('a domain of libvirt has secure boot by its loader or its firmware feature, and a TPM where one is', () => {
  const loader = "<loader readonly='yes' secure='yes' type='pflash'>/x.secboot.fd</loader>";
  assert.deepEqual(definition({ domainXml: `<domain>${loader}${TPM}</domain>` }), {
    hasSecureBoot: true,
    hasTpm: true,
  });
  const feature = (enabled: string) =>
    `<firmware><feature enabled='yes' name='enrolled-keys'/><feature enabled='${enabled}' name='secure-boot'/></firmware>`;
  assert.equal(definition({ domainXml: feature('yes') }).hasSecureBoot, true);
  assert.equal(definition({ domainXml: feature('no') }).hasSecureBoot, false);
  const plain = "<loader readonly='yes' secure='no' type='pflash'>/x.fd</loader>";
  assert.deepEqual(definition({ domainXml: plain }), { hasSecureBoot: false, hasTpm: false });
});

test("QEMU's command line says both, and nothing is secure under a BIOS", () => {
  const commandLine = [
    'qemu-system-x86_64',
    '-global',
    'driver=cfi.pflash01,property=secure,value=on',
    '-tpmdev',
    'emulator,id=tpm0,chardev=chrtpm',
  ];
  assert.deepEqual(definition({ commandLine }), { hasSecureBoot: true, hasTpm: true });
  const short = ['qemu-system-x86_64', '-global', 'cfi.pflash01.secure=on'];
  assert.equal(definition({ commandLine: short }).hasSecureBoot, true);
  assert.equal(definition({ commandLine }, 'bios').hasSecureBoot, false);
  assert.deepEqual(definition({}), { hasSecureBoot: false, hasTpm: false });
  const files = [
    { role: 'tpm-state' as const, path: 'tpm2-00.permall', content: Buffer.from('x') },
  ];
  assert.equal(definition({ files }).hasTpm, true);
});
