/**
 * The block index beside node:sqlite and lmdb: inserts of uniformly random ids, then lookups.
 *
 *     node bench/index.ts [--entries 1000000] [--only holdfast,sqlite,lmdb] [--dir /tmp/…] [--lmdb <folder of the npm package>]
 *
 * Each store runs in a process of its own, so that RSS is its own. Cold figures need root (page cache
 * dropped); else they say "–". Prints a Markdown table.
 */
import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { BlockIndex, newFound } from '../src/repository/block-index/index.ts';

const WARM_LOOKUPS = 300_000;
const COLD_LOOKUPS = 20_000;
const MISS_LOOKUPS = 1_000_000;
/** First backups ask for this many ids that are not there yet. */
const BATCH = 100_000;

type Store = {
  readonly insert: (id: Buffer, n: number) => void;
  /** Called every 64 Ki inserts and at the end. */
  readonly step: (isLast: boolean) => Promise<void>;
  readonly has: (id: Buffer) => boolean;
  readonly hasMany?: (ids: Buffer) => number;
  readonly misses?: (id: Buffer) => boolean;
  readonly close: () => Promise<void>;
};

type Figures = Readonly<Record<string, string>>;

/** Ids by number, without storing them: AES of a counter, 4096 at a time. */
class Ids {
  readonly #chunk: Buffer;
  #first = -1;

  constructor() {
    this.#chunk = Buffer.alloc(4096 * 16);
  }

  at(n: number): Buffer {
    const first = n - (n % 4096);
    if (first !== this.#first) this.#fill(first);
    return this.#chunk.subarray((n % 4096) * 16, (n % 4096) * 16 + 16);
  }

  #fill(first: number): void {
    const plain = Buffer.alloc(4096 * 16);
    for (let i = 0; i < 4096; i++) plain.writeDoubleLE(first + i, i * 16);
    const cipher = createCipheriv('aes-128-ecb', Buffer.alloc(16, 5), null).setAutoPadding(false);
    cipher.update(plain).copy(this.#chunk);
    this.#first = first;
  }
}

async function openHoldfast(dir: string): Promise<Store> {
  const options = { isPackGone: (): boolean => false };
  const isNew = !existsSync(dir);
  const index = await (isNew ? BlockIndex.create(dir, options) : BlockIndex.open(dir, options));
  const found = newFound();
  let flushes = 0;
  const flush = (): Promise<void> => index.flush({ number: ++flushes, hash: '', cursor: 0 }, {});
  return {
    insert: (id, n) => {
      index.addCopy(id, { pack: n >>> 12, frame: (n >>> 4) & 255, slot: n & 15, share: 7000 });
      index.addCount(id, 1);
    },
    step: async (isLast) => {
      if (isLast || index.needsFlush) await flush();
      if (isLast) await index.settle();
      if (isLast) process.stderr.write(`holdfast: ${index.stats.runCount} runs\n`);
    },
    has: (id) => index.find(id, found).count > 0,
    hasMany: (ids) => {
      let hits = 0;
      index.findMany(ids, found, () => (hits += found.count));
      return hits;
    },
    misses: (id) => !index.maybePresent(id),
    close: () => index.close(),
  };
}

// eslint-disable-next-line typescript/require-await -- the stores open alike
async function openSqlite(dir: string): Promise<Store> {
  mkdirSync(dir, { recursive: true });
  const db = new DatabaseSync(join(dir, 'db'));
  db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536');
  db.exec(
    'CREATE TABLE IF NOT EXISTS block (id BLOB PRIMARY KEY, pack, frame, slot, share, count) WITHOUT ROWID',
  );
  const insert = db.prepare('INSERT INTO block VALUES (?, ?, ?, ?, 7000, 1)');
  const find = db.prepare('SELECT pack, frame, slot, share, count FROM block WHERE id = ?');
  return {
    insert: (id, n) => {
      if (!db.isTransaction) db.exec('BEGIN');
      insert.run(id, n >>> 12, (n >>> 4) & 255, n & 15);
    },
    step: (isLast) => {
      if (db.isTransaction) db.exec('COMMIT');
      if (isLast) db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      return Promise.resolve();
    },
    has: (id) => find.get(id) !== undefined,
    close: () => Promise.resolve(db.close()),
  };
}

type Lmdb = {
  readonly open: (options: Record<string, unknown>) => {
    readonly putSync: (id: Buffer, value: Buffer) => void;
    readonly transactionSync: (run: () => void) => void;
    readonly getBinaryFast: (id: Buffer) => Buffer | undefined;
    readonly close: () => Promise<void>;
  };
};

async function openLmdb(dir: string, packageFolder: string): Promise<Store> {
  const { open } = (await import(pathToFileURL(join(packageFolder, 'index.js')).href)) as Lmdb;
  const db = open({ path: dir, encoding: 'binary', keyEncoding: 'binary', noSync: true });
  let pending: (readonly [Buffer, Buffer])[] = [];
  return {
    insert: (id, n) => {
      const value = Buffer.alloc(16, 1);
      value.writeUInt32LE(n, 0);
      pending.push([Buffer.from(id), value]);
    },
    step: () => {
      db.transactionSync(() => {
        for (const [id, value] of pending) db.putSync(id, value);
      });
      pending = [];
      return Promise.resolve();
    },
    has: (id) => db.getBinaryFast(id) !== undefined,
    close: () => db.close(),
  };
}

/** Calls `run` for `count` numbers that jump about below `limit`; calls per second. */
function perSecond(count: number, run: (i: number) => void): number {
  const start = performance.now();
  for (let i = 0; i < count; i++) run(i);
  return (count / (performance.now() - start)) * 1000;
}

/** `count` ids spread over those numbered from `first` to `first + limit`, made beforehand. */
function spread(count: number, { first, limit }: { first: number; limit: number }): Buffer[] {
  const ids = new Ids();
  const stride = Math.max(1, Math.floor(limit / count));
  const picked = Array.from({ length: count }, (_, i) =>
    Buffer.from(ids.at(first + ((i * stride) % limit))),
  );
  for (let i = picked.length - 1; i > 0; i--) {
    const j = (Math.imul(i, 0x9e37_79b1) >>> 0) % (i + 1);
    [picked[i], picked[j]] = [picked[j]!, picked[i]!];
  }
  return picked;
}

function dropCaches(): boolean {
  try {
    execFileSync('sync');
    writeFileSync('/proc/sys/vm/drop_caches', '1');
    return true;
  } catch {
    return false; // not root: no cold figures
  }
}

function countHits(store: Store, ids: readonly Buffer[]): number {
  let hits = 0;
  const rate = perSecond(ids.length, (i) => {
    if (store.has(ids[i]!)) hits++;
  });
  if (hits !== ids.length) throw new Error(`${ids.length - hits} lookups missed`);
  return rate;
}

async function fill(store: Store, entries: number): Promise<number> {
  const ids = new Ids();
  const start = performance.now();
  for (let n = 0; n < entries; n++) {
    store.insert(ids.at(n), n);
    if ((n & 0xffff) === 0xffff) await store.step(false);
  }
  await store.step(true);
  return (entries / (performance.now() - start)) * 1000;
}

function batchRate(store: Store, ids: readonly Buffer[]): number | undefined {
  if (store.hasMany === undefined) return undefined;
  const all = Buffer.concat(ids);
  const start = performance.now();
  if (store.hasMany(all) !== ids.length) throw new Error('lookups in a batch missed');
  return (ids.length / (performance.now() - start)) * 1000;
}

async function measure(
  open: (dir: string) => Promise<Store>,
  { dir, entries }: { dir: string; entries: number },
): Promise<Figures> {
  let store = await open(dir);
  const inserts = await fill(store, entries);
  const rssMiB =
    Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
  const sizeBytes = readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
  const range = { first: 0, limit: entries };
  const hits = spread(Math.min(entries, WARM_LOOKUPS), range);
  countHits(store, hits);
  const warm = countHits(store, hits);
  const batch = batchRate(store, hits.slice(0, BATCH));
  const absent = spread(MISS_LOOKUPS, { first: entries, limit: MISS_LOOKUPS });
  let passed = 0;
  const misses = perSecond(absent.length, (i) => {
    if (store.misses?.(absent[i]!) !== true && store.has(absent[i]!)) passed++;
  });
  if (passed > 0) throw new Error('absent ids were found');
  const few = hits.slice(0, COLD_LOOKUPS);
  // Reopened: what a store holds in its own memory, or has mapped, is not in the page cache.
  await store.close();
  const isCold = dropCaches();
  store = await open(dir);
  const cold = isCold ? countHits(store, few) : undefined;
  await store.close();
  dropCaches();
  store = await open(dir);
  const coldBatch = isCold ? batchRate(store, few) : undefined;
  await store.close();
  const whole = (value: number | undefined): string =>
    value === undefined ? '–' : Math.round(value).toLocaleString('en');
  return {
    'inserts/s': whole(inserts),
    'hits/s warm': whole(warm),
    'batched warm': whole(batch),
    'misses/s': whole(misses),
    'hits/s cold': whole(cold),
    'batched cold': whole(coldBatch),
    'bytes an entry': (sizeBytes / entries).toFixed(1),
    'peak RSS MiB': whole(rssMiB),
  };
}

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '1000000' },
    only: { type: 'string', default: 'holdfast,sqlite,lmdb' },
    dir: { type: 'string' },
    lmdb: { type: 'string' },
    inside: { type: 'string' },
  },
});

async function runOne(name: string, folder: string): Promise<Figures> {
  const dir = join(folder, name);
  const lmdb = (at: string): Promise<Store> => openLmdb(at, values.lmdb ?? '');
  const open = { holdfast: openHoldfast, sqlite: openSqlite, lmdb }[name];
  if (open === undefined) throw new Error(`no store ${name}`);
  return await measure(open, { dir, entries: Number(values.entries) });
}

function runAll(): void {
  const folder = mkdtempSync(join(values.dir ?? tmpdir(), 'bench-index-'));
  const names = values.only
    .split(',')
    .filter((name) => name !== 'lmdb' || values.lmdb !== undefined);
  try {
    names.forEach((name, i) => {
      const args = [...process.execArgv, import.meta.filename, ...process.argv.slice(2)];
      const output = execFileSync(process.execPath, [...args, '--inside', name, '--dir', folder], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const figures = JSON.parse(output) as Figures;
      const titles = Object.keys(figures);
      if (i === 0)
        process.stdout.write(
          `| ${values.entries} ids | ${titles.join(' | ')} |\n|${' --- |'.repeat(titles.length + 1)}\n`,
        );
      process.stdout.write(`| ${name} | ${Object.values(figures).join(' | ')} |\n`);
      rmSync(join(folder, name), { recursive: true });
    });
  } finally {
    rmSync(folder, { force: true, recursive: true });
  }
}

if (values.inside === undefined) runAll();
else process.stdout.write(JSON.stringify(await runOne(values.inside, values.dir ?? tmpdir())));
