/**
 * What a new owner does before anything else: ends sessions whose process has died and adopts their
 * packs, ends pins of dead readers, deletes packs that are doomed. All of it can be interrupted and is
 * then done by the next owner.
 */
import { isHoldfastError } from '#base';
import type { OpenSession } from '../history/state.ts';
import type { LoggedPack } from '../log/log-entry.ts';
import { readFooter } from '../pack/footer-reader.ts';
import { packIdOf, packName, sessionPrefix } from '../pack/pack-id.ts';
import { manifestName } from '../points/manifest.ts';
import type { RepositoryParts } from '../repository-parts.ts';

/**
 * Ends the session `dead`: every pack that it sealed is found by its counter (as many consecutive
 * absent counters as it had writers are the end; format.md §5), checked and adopted; unsealed remains
 * and a manifest without a point are deleted.
 */
export async function adoptSession(parts: RepositoryParts, dead: OpenSession): Promise<void> {
  const session = Buffer.from(dead.session, 'hex');
  await parts.store.discardUnfinished(sessionPrefix(session));
  const packs: LoggedPack[] = [];
  let absent = 0;
  for (let counter = dead.nextCounter; absent < dead.writers; counter += 1) {
    const packId = packIdOf({ session, counter });
    const sizeBytes = await parts.store.size(packName(packId));
    if (sizeBytes === undefined) {
      absent += 1;
      continue;
    }
    absent = 0;
    const pack = await readSealed(parts, { packId, counter, sizeBytes });
    if (pack === undefined) await parts.store.delete(packName(packId));
    else packs.push(pack);
  }
  await parts.append((state) =>
    state.sessions.has(dead.session)
      ? { type: 'session-ended', session: dead.session, outcome: 'adopted', packs }
      : undefined,
  );
  if (dead.point !== undefined && dead.item !== undefined) {
    await parts.store.delete(manifestName(dead.item, dead.point));
  }
}

async function readSealed(
  parts: RepositoryParts,
  pack: { readonly packId: Buffer; readonly counter: number; readonly sizeBytes: number },
): Promise<LoggedPack | undefined> {
  const { packId, counter, sizeBytes } = pack;
  try {
    const footer = await readFooter({ store: parts.store, keys: parts.keyring, packId, sizeBytes });
    parts.keeper.remember(footer);
    return { counter, kind: footer.kind, sizeBytes };
  } catch (error) {
    // No point needs it: a pack that no log entry names and that cannot be read is not worth keeping.
    if (isHoldfastError(error, 'ObjectDamaged')) return undefined;
    throw error;
  }
}

/** Ends every pin whose reader is dead. */
export async function endDeadPins(
  parts: RepositoryParts,
  isReaderAlive: (pin: string) => boolean,
): Promise<void> {
  for (const { pin } of Array.from(parts.history.state.pins.values())) {
    if (isReaderAlive(pin)) continue;
    await parts.append((state) => (state.pins.has(pin) ? { type: 'unpinned', pin } : undefined));
  }
}

/** Deletes the objects of doomed packs. @returns the bytes deleted. */
export async function deleteDoomed(parts: RepositoryParts): Promise<number> {
  const doomed = [...parts.history.state.doomed];
  if (doomed.length === 0) return 0;
  let sizeBytes = 0;
  for (const [pack, known] of doomed) {
    await parts.store.delete(packName(Buffer.from(pack, 'hex')));
    sizeBytes += known.sizeBytes;
  }
  const packs = doomed.map(([pack]) => pack);
  await parts.append(() => ({ type: 'deleted', packs, sizeBytes }));
  return sizeBytes;
}
