/**
 * What a new qcow2 image is made of, by QEMU's docs/interop/qcow2: version 3, clusters of 64 KiB, 16-bit
 * refcounts, header extensions as qemu-img writes them; no backing file, no snapshot, no compression.
 *
 *     cluster 0    header, names of features
 *     from 1 on    L1 table: for each 512 MiB of the disk the place of its L2 table
 *     then         L2 table, its data clusters, L2 table, its data clusters …, all in ascending order
 *     at the end   refcount table: the places of the refcount blocks; refcount blocks: 1 for each cluster
 *
 * Numbers are big-endian. An entry of an L1 or L2 table has 8 bytes: 0, or a multiple of the cluster's size
 * in the file with bit 63 set, which says that the refcount there is exactly 1.
 */
export const CLUSTER_BYTES = 65_536;
export const ENTRY_BYTES = 8;
/** L2 entries in a table, one for each data cluster. */
export const TABLE_ENTRIES = CLUSTER_BYTES / ENTRY_BYTES;
const L1_CLUSTER = 1;
/** Where the L1 table begins. */
export const L1_OFFSET = L1_CLUSTER * CLUSTER_BYTES;

const SECTOR_BYTES = 512;
const CLUSTER_BITS = 16;
const REFCOUNT_ORDER = 4;
const REFCOUNT_BYTES = 2;
const COUNTS_PER_BLOCK = CLUSTER_BYTES / REFCOUNT_BYTES;

const MAGIC = 0x5146_49fb;
const VERSION = 3;
const HEADER_BYTES = 112;
const FEATURE_NAMES_TYPE = 0x6803_f857;
const FEATURE_BYTES = 48;
/** Type (0 incompatible, 1 compatible, 2 autoclear), bit, name. */
const FEATURES = [
  [0, 0, 'dirty bit'],
  [0, 1, 'corrupt bit'],
  [0, 2, 'external data file'],
  [0, 3, 'compression type'],
  [0, 4, 'extended L2 entries'],
  [1, 0, 'lazy refcounts'],
  [2, 0, 'bitmaps'],
  [2, 1, 'raw external data'],
] as const;

export type Refcounts = {
  /** The table's first cluster; the blocks follow the table. */
  readonly firstCluster: number;
  readonly tableClusters: number;
  readonly blockCount: number;
};

/** How many L2 tables a disk of that size can have. */
export function l1EntryCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / (TABLE_ENTRIES * CLUSTER_BYTES));
}

/** The clusters of header and L1 table. */
export function headClusterCount(sizeBytes: number): number {
  return L1_CLUSTER + clustersOf(l1EntryCount(sizeBytes) * ENTRY_BYTES);
}

/** What counts `usedClusters` clusters, and itself, which lies behind them. */
export function refcountsBehind(usedClusters: number): Refcounts {
  let [tableClusters, blockCount] = [1, 1];
  for (;;) {
    const blocks = Math.ceil((usedClusters + tableClusters + blockCount) / COUNTS_PER_BLOCK);
    const table = clustersOf(blocks * ENTRY_BYTES);
    if (blocks === blockCount && table === tableClusters) break;
    [tableClusters, blockCount] = [table, blocks];
  }
  return { firstCluster: usedClusters, tableClusters, blockCount };
}

/** All clusters of an image that ends with these. */
function clusterCountOf({ firstCluster, tableClusters, blockCount }: Refcounts): number {
  return firstCluster + tableClusters + blockCount;
}

export function refcountTable({ firstCluster, tableClusters, blockCount }: Refcounts): Buffer {
  const table = Buffer.alloc(tableClusters * CLUSTER_BYTES);
  for (let block = 0; block < blockCount; block += 1) {
    const offset = (firstCluster + tableClusters + block) * CLUSTER_BYTES;
    table.writeBigUInt64BE(BigInt(offset), block * ENTRY_BYTES);
  }
  return table;
}

/** Block number `block`: 1 for each cluster that there is. */
export function refcountBlock(refcounts: Refcounts, block: number): Buffer {
  const counted = clusterCountOf(refcounts) - block * COUNTS_PER_BLOCK;
  const bytes = Buffer.alloc(CLUSTER_BYTES);
  bytes.fill(Buffer.of(0, 1), 0, Math.min(counted, COUNTS_PER_BLOCK) * REFCOUNT_BYTES);
  return bytes;
}

/** The first bytes of the image; the rest of its cluster is zero. The size is rounded up to sectors. */
export function headerBytes(sizeBytes: number, refcounts: Refcounts): Buffer {
  const namesAt = HEADER_BYTES + ENTRY_BYTES;
  const header = Buffer.alloc(namesAt + FEATURES.length * FEATURE_BYTES + ENTRY_BYTES);
  const l1Entries = l1EntryCount(sizeBytes);
  header.writeUInt32BE(MAGIC, 0);
  header.writeUInt32BE(VERSION, 4);
  header.writeUInt32BE(CLUSTER_BITS, 20);
  header.writeBigUInt64BE(BigInt(Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES), 24);
  header.writeUInt32BE(l1Entries, 36);
  header.writeBigUInt64BE(BigInt(l1Entries === 0 ? 0 : L1_OFFSET), 40);
  header.writeBigUInt64BE(BigInt(refcounts.firstCluster * CLUSTER_BYTES), 48);
  header.writeUInt32BE(refcounts.tableClusters, 56);
  header.writeUInt32BE(REFCOUNT_ORDER, 96);
  header.writeUInt32BE(HEADER_BYTES, 100);
  header.writeUInt32BE(FEATURE_NAMES_TYPE, HEADER_BYTES);
  header.writeUInt32BE(FEATURES.length * FEATURE_BYTES, HEADER_BYTES + 4);
  for (const [at, [type, bit, name]] of FEATURES.entries()) {
    const start = namesAt + at * FEATURE_BYTES;
    header.set([type, bit], start);
    header.write(name, start + 2, 'latin1');
  }
  return header;
}

/** Has entry number `at` of a table say `offset`. */
export function putEntry(table: Buffer, at: number, offset: number): void {
  table.writeUInt32BE((0x8000_0000 | Math.floor(offset / 2 ** 32)) >>> 0, at * ENTRY_BYTES);
  table.writeUInt32BE(offset % 2 ** 32, at * ENTRY_BYTES + 4);
}

/** The offset that an entry says; 0: there is nothing. */
export function entryAt(table: Buffer, at: number): number {
  const high = table.readUInt32BE(at * ENTRY_BYTES) & 0x7fff_ffff;
  return high * 2 ** 32 + table.readUInt32BE(at * ENTRY_BYTES + 4);
}

/** The size of an image in which every cluster of the disk has data. */
export function mostImageBytes(sizeBytes: number): number {
  const tables = l1EntryCount(sizeBytes);
  const used = headClusterCount(sizeBytes) + tables + clustersOf(sizeBytes);
  return clusterCountOf(refcountsBehind(used)) * CLUSTER_BYTES;
}

function clustersOf(bytes: number): number {
  return Math.ceil(bytes / CLUSTER_BYTES);
}
