/**
 * Azure's quotas (R1, R6, R14) as settings: none holds unless it is set. Who adds or starts something counts
 * what is there already, and asks here first.
 */
import { HoldfastError } from '#base';

export type Quotas = {
  /** R1 */
  readonly vaultsPerSubscription?: number;
  readonly policiesPerVault?: number;
  readonly policyChangesPerDay?: number;
  /** Those that are backed up; `itemsPerVault`: stopped and soft-deleted ones too. */
  readonly vmsPerVault?: number;
  readonly itemsPerVault?: number;
  readonly vmsPerPolicy?: number;
  readonly protectionChangesPerDay?: number;
  /** R14: tries, failed ones included. */
  readonly onDemandBackupsPerDay?: number;
  /** R6: smaller VMs are not protected. */
  readonly minimumCores?: number;
  readonly minimumMemoryBytes?: number;
};

/** What Azure holds its users to. */
export const AZURE_QUOTAS: Required<Quotas> = {
  vaultsPerSubscription: 500,
  policiesPerVault: 200,
  policyChangesPerDay: 50,
  vmsPerVault: 1000,
  itemsPerVault: 2000,
  vmsPerPolicy: 100,
  protectionChangesPerDay: 1000,
  onDemandBackupsPerDay: 9,
  minimumCores: 2,
  minimumMemoryBytes: 1024 ** 3,
};

type Minimum = 'minimumCores' | 'minimumMemoryBytes';
export type CountedQuota = Exclude<keyof Quotas, Minimum>;

/**
 * Before one more.
 *
 * @param used how many there are, or were in the last 24 hours.
 * @throws {HoldfastError} `UserErrorQuotaExceeded`
 */
export function checkQuota(quotas: Quotas, quota: CountedQuota, used: number): void {
  const limit = quotas[quota];
  if (limit === undefined || used < limit) return;
  throw exceeded(quota, `${used} used, and ${limit} is the most`);
}

/**
 * @param vm a size that is undefined nobody knows, and nobody is refused for.
 * @throws {HoldfastError} `UserErrorQuotaExceeded` if the VM is smaller than R6 allows.
 */
export function checkVmSize(
  quotas: Quotas,
  vm: { readonly cores?: number | undefined; readonly memoryBytes?: number | undefined },
): void {
  const sizes: readonly [Minimum, number | undefined][] = [
    ['minimumCores', vm.cores],
    ['minimumMemoryBytes', vm.memoryBytes],
  ];
  for (const [quota, size] of sizes) {
    const least = quotas[quota] ?? 0;
    if (size !== undefined && size < least)
      throw exceeded(quota, `the VM has ${size}, and ${least} is the least`);
  }
}

function exceeded(quota: keyof Quotas, why: string): HoldfastError {
  return new HoldfastError('UserErrorQuotaExceeded', `quota ${quota}: ${why}`, {
    details: { quota },
  });
}
