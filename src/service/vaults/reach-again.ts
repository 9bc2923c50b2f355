/** Tries vaults that are out of reach (vault-reach.ts) again, until all have been taken over. */
import { pause } from '#base';
import type { ServiceParts } from '../service-parts.ts';
import { takeOverVaults } from './take-over-vaults.ts';

const FIRST_MS = 60_000;
const LONGEST_MS = 30 * 60_000;

/** Runs until every vault is in reach, or aborted. What goes wrong is told, and tried again. */
export async function reachAgain(parts: ServiceParts, signal: AbortSignal): Promise<void> {
  for (let waitMs = FIRST_MS; parts.reach.all().size > 0;) {
    parts.reach.triesAgainAt(parts.clock.nowMs() + waitMs);
    await pause(parts.clock, waitMs, signal);
    if (signal.aborted) return;
    try {
      await reachNow(parts);
    } catch (error) {
      parts.log.error({ error: String(error) }, 'vaults could not be tried again');
    }
    waitMs = Math.min(waitMs * 2, LONGEST_MS);
  }
}

/** Tries all of them once; those that are taken over are as any other on return. */
export async function reachNow(parts: ServiceParts): Promise<void> {
  await parts.turns('vaults out of reach', async () => {
    const lost = [...parts.reach.all().keys()];
    if (lost.length > 0) await takeOver(parts, lost);
  });
}

/**
 * The catalogue learns what the repositories remember and it does not.
 *
 * @param vaultIds absent: all that have a folder.
 */
export async function takeOver(parts: ServiceParts, vaultIds?: readonly string[]): Promise<void> {
  const { reach, log } = parts;
  const known = new Set(reach.all().keys());
  const whole = { ...parts, repositories: reach.repositories };
  const { applied, unreachable, reached } = await takeOverVaults(whole, vaultIds);
  for (const vault of reached) {
    if (known.has(vault)) log.info({ vault }, 'the repository of a vault can be opened again');
    reach.reached(vault);
  }
  for (const [vault, error] of unreachable) {
    if (!known.has(vault)) {
      const facts = { vault, reason: error instanceof Error ? error.message : String(error) };
      log.error(facts, 'the repository of a vault cannot be opened; it is tried again');
    }
    reach.lost(vault, error);
  }
  if (applied.length > 0) log.info({ documents: applied }, 'taken over from repositories');
}
