/** How a recovery point is named. */
import type { RepositoryParts } from '../repository-parts.ts';

/** 17 decimal digits that no point has. */
export function newPointId(parts: RepositoryParts): string {
  for (;;) {
    const digits = ((parts.random(8).readBigUInt64BE() % 9n) * 10n ** 16n + 10n ** 16n).toString();
    const id = (BigInt(digits) + (parts.random(8).readBigUInt64BE() % 10n ** 16n)).toString();
    if (!parts.history.state.points.has(id)) return id;
  }
}
