/** A VM's state, for people. */

export function stateText(vm: {
  readonly state: string;
  readonly hasSavedMemory?: boolean;
}): string {
  return vm.hasSavedMemory === true ? `${vm.state}, memory saved` : vm.state;
}
