/** The log's entry for copies that turned out damaged (docs/format.md §5). */
import type { LogEvent } from '../log/log-entry.ts';
import type { RepositoryState } from './state.ts';

/** `frame` −1: the whole pack. */
export type DamagedFrame = { readonly pack: string; readonly frame: number };

/** Of `frames`, what the log does not know yet; undefined: nothing. */
export function damageEvent(
  state: RepositoryState,
  frames: readonly DamagedFrame[],
): Extract<LogEvent, { type: 'damage' }> | undefined {
  const fresh = frames.filter(({ pack, frame }) => {
    const known = state.damage.get(pack);
    return state.packs.has(pack) && known?.has(frame) !== true && known?.has(-1) !== true;
  });
  return fresh.length === 0 ? undefined : { type: 'damage', frames: fresh };
}

/** Whether the log says that nothing of the pack can be read. */
export function isWhollyDamaged(state: RepositoryState, pack: string): boolean {
  return state.damage.get(pack)?.has(-1) === true;
}
