/** A running Windows VM for tests, its guest a model (model-vm.ts). */
import type { TestContext } from 'node:test';
import { startModelVm, type ModelVm } from './model-vm.ts';

export type WindowsVm = ModelVm;

export async function startWindows(t: TestContext): Promise<WindowsVm> {
  const vm = await startModelVm(t, { family: 'windows', name: 'windows' });
  const out = "Writer name: 'Registry'\n   State: [1] Stable\n";
  vm.guest.exits.set(' writers', { code: 0, out });
  return vm;
}
