/** What a run that is interrupted must not leave behind: guests, servers, the work folder. */

type Undo = () => Promise<void> | void;

const undos = new Set<Undo>();

/** Has `undo` done once: by whoever calls what is returned, or where the run is interrupted. */
export function undoneInTheEnd(undo: Undo): () => Promise<void> {
  undos.add(undo);
  return async () => {
    if (undos.delete(undo)) await undo();
  };
}

/**
 * From now on Ctrl-C and SIGTERM undo all, the latest first, and end the process as their signal does.
 *
 * @returns aborted when that begins: nothing new is started then.
 */
export function cleanUpWhenInterrupted(): AbortSignal {
  const ends = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
  const ending = new AbortController();
  for (const [signal, exitCode] of Object.entries(ends)) {
    process.on(signal, () => {
      if (ending.signal.aborted) return;
      ending.abort();
      void undoAll().then(() => process.exit(exitCode));
    });
  }
  return ending.signal;
}

/** One that fails is told, and the others follow. */
async function undoAll(): Promise<void> {
  for (const undo of [...undos].toReversed()) {
    undos.delete(undo);
    try {
      await undo();
    } catch (error) {
      process.stderr.write(`cleaning up: ${String(error)}\n`);
    }
  }
}
