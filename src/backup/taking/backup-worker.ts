/** One worker thread of a backup: its sources, its part of the session, and the calls on them. */
import { realClock } from '#base';
import { openSource, type DiskSource } from '#disk';
import { SessionThread } from '#repository';
import { openStore, type ObjectStore } from '#storage';
import { addDone } from '../progress-meter.ts';
import type { CallPort } from '../threads/call-port.ts';
import type { BackupMainCalls, BackupWorkerCalls, BeginData } from './backup-calls.ts';
import { HintAudit } from './hint-audit.ts';
import { ReadAhead } from './read-ahead.ts';
import { UnitBackup } from './unit-backup.ts';
import type { AuditBatch, AuditBatchResult, UnitBatch, UnitBatchResult } from './unit-job.ts';

type Open = {
  readonly store: ObjectStore;
  readonly thread: SessionThread;
  readonly sources: (disk: number) => Promise<DiskSource>;
  readonly closeSources: () => Promise<void>;
  readonly readAhead: ReadAhead;
  readonly done: BigInt64Array;
};

/** The worker's handlers; `main` calls the main thread. */
export function backupWorker(main: () => CallPort<BackupMainCalls>): BackupWorkerCalls {
  const stopping = new AbortController();
  let open: Open | undefined;
  const opened = (): Open => {
    if (open === undefined) throw new Error('the backup has not begun');
    return open;
  };
  return {
    begin: async (data) => {
      open = await openAll(data, { main: main(), signal: stopping.signal });
    },
    backUp: async (batch) => await backUp(opened(), batch, stopping.signal),
    audit: async (batch) => await audit(opened(), batch, stopping.signal),
    flush: async (options) => await opened().thread.flush(options),
    renew: async (view) => await opened().thread.renew(view),
    avoid: (copies) => open?.thread.avoid(copies),
    stop: () => stopping.abort(),
    close: async () => {
      await open?.closeSources();
      await open?.thread.close();
      await open?.store.close();
    },
  };
}

async function openAll(
  { session, disks, done }: BeginData,
  context: { readonly main: CallPort<BackupMainCalls>; readonly signal: AbortSignal },
): Promise<Open> {
  const { main, signal } = context;
  const store = await openStore(session.location);
  const thread = new SessionThread({
    data: session,
    store,
    onSealed: (pack) => main.tell('sealed', pack),
    requestView: async () => await main.call('view', undefined),
    onViewOpened: () => main.tell('viewOpened', undefined),
    onDamage: ({ pack, frame }) => main.tell('damaged', { pack, frame }),
  });
  const clock = realClock();
  const sources = new Map<number, Promise<DiskSource>>();
  return {
    store,
    thread,
    readAhead: new ReadAhead(thread.blockSize),
    done: new BigInt64Array(done),
    sources: (disk) => {
      const source = sources.get(disk) ?? openSource(disks[disk]!, { clock, signal });
      sources.set(disk, source);
      return source;
    },
    closeSources: async () => {
      for (const opened of await Promise.allSettled(sources.values())) {
        // One that could not be opened has failed the call that wanted it.
        if (opened.status === 'fulfilled') await opened.value.close();
      }
    },
  };
}

async function backUp(
  open: Open,
  { disk, units }: UnitBatch,
  signal: AbortSignal,
): Promise<UnitBatchResult> {
  const { thread, done } = open;
  const source = await open.sources(disk);
  const writer = thread.unitWriter();
  const unitBackup = new UnitBackup({
    source,
    blockSize: thread.blockSize,
    readAhead: open.readAhead,
    signal,
    onDone: (bytes) => addDone(done, bytes),
  });
  const pages = await unitBackup.run(units, writer);
  const { readBytes } = unitBackup;
  return { disk, pages, readBytes, ...writer.statistics };
}

async function audit(
  open: Open,
  { disk, units }: AuditBatch,
  signal: AbortSignal,
): Promise<AuditBatchResult> {
  const hintAudit = new HintAudit({
    source: await open.sources(disk),
    thread: open.thread,
    readAhead: open.readAhead,
    signal,
  });
  const miss = await hintAudit.run(units);
  return { disk, readBytes: hintAudit.readBytes, miss };
}
