/** A VM's state, for people. */
import type { Vm } from '#hypervisor';

export function stateText({ state, hasSavedMemory }: Vm): string {
  return hasSavedMemory === true ? `${state}, memory saved` : state;
}
