/** How large the vaults are, and the names in them. */
export const DAY_MS = 86_400_000;

export type RulesScale = { readonly vms: number; readonly points: number };

export function vmNameOf(vm: number): string {
  return `vm${String(vm).padStart(4, '0')}`;
}

/** The id of a VM's point: 15 digits, as the service draws them. */
export function pointOf(vm: number, point: number): string {
  return String(100_000_000_000_000 + vm * 100_000 + point);
}
