/**
 * The rooms of the code and what each may import; lowest first. test/architecture.test.ts holds the code to
 * it, test/docs.test.ts the table in docs/ARCHITECTURE.md.
 */
export const ROOMS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  disk: ['base'],
  storage: ['base'],
  repository: ['base', 'storage'],
  hypervisor: ['base', 'disk'],
  keyvault: ['base'],
  backup: ['base', 'disk', 'storage', 'repository', 'hypervisor', 'keyvault'],
  service: ['base', 'backup', 'keyvault'],
  api: ['base', 'service'],
  cli: ['base', 'backup', 'api'],
};
