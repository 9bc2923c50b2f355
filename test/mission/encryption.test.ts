/**
 * M12: backups are encrypted at rest, always, transparently. Everything that lies in the repository's
 * folder is searched, the local index and locks too, after every kind of operation.
 */
import assert from 'node:assert/strict';
import { createHash, hash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { addKey, addRecoveryKey, compactRepository, verify } from '#backup';
import { BLOCK, makeImage, noise, writeImage } from './images.ts';
import { MissionRepository, type MissionDisk } from './mission-repository.ts';

const PASSWORD = 'Zwiebelkuchen-4711';
const SECOND_PASSWORD = 'Federweisser-0815';
const ITEM = 'payroll-of-the-ministry';
const DISKS = ['system-volume-xyzzy', 'salaries-volume-plugh'] as const;
const IMAGES = ['image-of-system-frotz.raw', 'image-of-salaries-gnusto.raw'] as const;
/** Compresses: text stays recognisable only where nothing is encrypted. */
const TEXT = 'Top secret: the minister earns 123 456 guilders a year. ';

const DATA_BLOCKS = 40;

function imageBytes(name: string): Buffer {
  return Buffer.concat([
    noise(name, DATA_BLOCKS * BLOCK),
    Buffer.alloc(4 * BLOCK, `${TEXT}${name} `),
  ]);
}

async function images(vault: MissionRepository): Promise<MissionDisk[]> {
  const disks = DISKS.map((name, at) => ({ name, location: vault.path(IMAGES[at]!) }));
  for (const { name, location } of disks) {
    await makeImage(location, 100 * BLOCK, [{ offset: 0, bytes: imageBytes(name) }]);
  }
  return disks;
}

/** A repository in which everything was done that leaves something behind. @returns secrets made meanwhile. */
async function usedRepository(
  password: string | undefined,
): Promise<{ readonly vault: MissionRepository; readonly recoveryKey: string }> {
  const vault = await MissionRepository.create(atEnd, password === undefined ? {} : { password });
  const disks = await images(vault);
  const first = await vault.backUp(disks, { item: ITEM });
  await writeImage(disks[0]!.location, [{ offset: BLOCK, bytes: noise('changed', 9 * BLOCK) }]);
  await vault.backUp(disks, { item: ITEM });
  await writeImage(disks[1]!.location, [{ offset: BLOCK, bytes: noise('lost', 9 * BLOCK) }]);
  const signal = AbortSignal.abort();
  await assert.rejects(vault.backUpUnseen(disks, { item: ITEM, signal }), { code: 'Cancelled' });
  const { recoveryKey } = await vault.use('own', async (repository) => {
    await addKey(repository, { kdf: 'scrypt', password: SECOND_PASSWORD }, 'second');
    return await addRecoveryKey(repository, 'for the safe');
  });
  await vault.expireUnrestored(first.pointId);
  await vault.backUp(disks, { item: ITEM });
  await vault.use('own', async (repository) => {
    await compactRepository(repository.parts);
    await verify(repository, { readDataPercent: 100 });
  });
  return { vault, recoveryKey };
}

const endings: (() => void)[] = [];
const atEnd = { after: (act: () => void): void => void endings.push(act) };
after(() => {
  for (const end of endings) end();
});

let encrypted: Awaited<ReturnType<typeof usedRepository>>;
before(async () => {
  encrypted = await usedRepository(PASSWORD);
});

type Marker = { readonly what: string; readonly bytes: Buffer };

function blockMarkers(): Marker[] {
  const contents = [
    ...DISKS.map(imageBytes),
    noise('changed', 9 * BLOCK),
    noise('lost', 9 * BLOCK),
  ];
  const blocks = contents.flatMap((bytes) =>
    Array.from({ length: bytes.length / BLOCK }, (_, at) =>
      bytes.subarray(at * BLOCK, (at + 1) * BLOCK),
    ),
  );
  return blocks.flatMap((bytes, at) => [
    { what: `the beginning of block ${at}`, bytes: bytes.subarray(0, 16) },
    { what: `the middle of block ${at}`, bytes: bytes.subarray(BLOCK / 2, BLOCK / 2 + 16) },
    // Who has only the repository cannot ask it whether it holds a certain block.
    ...['sha256', 'sha1', 'md5', 'blake2b512'].map((kind) => ({
      what: `${kind} of block ${at}`,
      bytes: createHash(kind).update(bytes).digest().subarray(0, 16),
    })),
  ]);
}

/** The words, also as they look in other encodings. */
function wordMarkers(words: readonly string[]): Marker[] {
  return words.flatMap((word) => {
    const bytes = Buffer.from(word);
    const base64 = bytes.subarray(0, bytes.length - (bytes.length % 3)).toString('base64');
    const digest = hash('sha256', word, 'hex');
    return [
      { what: word, bytes },
      { what: `${word} in UTF-16`, bytes: Buffer.from(word, 'utf16le') },
      { what: `${word} in hex`, bytes: Buffer.from(bytes.toString('hex')) },
      { what: `${word} in base64`, bytes: Buffer.from(base64) },
      { what: `SHA-256 of ${word}`, bytes: Buffer.from(digest, 'hex').subarray(0, 16) },
      { what: `SHA-256 of ${word}, written`, bytes: Buffer.from(digest.slice(0, 32)) },
    ];
  });
}

type Found = { readonly object: string; readonly what: string };

/** Where in the folder, in names or content, a marker is. */
function search(folder: string, markers: readonly Marker[]): Found[] {
  return filesIn(folder).flatMap((name) => {
    const bytes = Buffer.concat([Buffer.from(`${name}\n`), readFileSync(join(folder, name))]);
    return markers
      .filter((marker) => bytes.includes(marker.bytes))
      .map(({ what }) => ({ object: name, what }));
  });
}

function filesIn(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => statSync(join(folder, name)).isFile()).sort();
}

test('M12 no byte of the repository shows a block, a name, a path or a password', async () => {
  const { vault, recoveryKey } = encrypted;
  const words = [PASSWORD, SECOND_PASSWORD, recoveryKey, ITEM, ...DISKS, ...IMAGES, vault.folder];
  const markers = [
    ...blockMarkers(),
    ...wordMarkers([...words, TEXT.slice(0, 10), 'CrashConsistent']),
  ];
  assert.ok(filesIn(vault.location).length > 20);
  assert.deepEqual(search(vault.location, markers), []);
  // That the search finds what is there: the images beside it have the blocks.
  const seen = search(vault.folder, blockMarkers());
  assert.ok(seen.length >= 2 * DATA_BLOCKS);
  assert.ok(seen.every(({ object }) => object.endsWith('.raw')));
});

test('M12 a wrong password is refused, none is asked for, and neither shows a point', async () => {
  const { vault } = encrypted;
  const attempts = [
    ['wrong', 'PasswordWrong'],
    [`${PASSWORD} `, 'PasswordWrong'],
    [undefined, 'PasswordMissing'],
    ['', 'PasswordWrong'],
  ] as const;
  for (const [password, code] of attempts) {
    for (const access of ['own', 'read'] as const) {
      const opening = vault.use(access, async () => await Promise.resolve(), { password });
      await assert.rejects(opening, { code }, `${password ?? 'no password'} to ${access}`);
    }
  }
  for (const password of [PASSWORD, SECOND_PASSWORD]) {
    const points = await vault.use(
      'read',
      async ({ state }) => await Promise.resolve(state.points.size),
      { password },
    );
    assert.equal(points, 2);
  }
});

test('M12 encryption is transparent: with the password every point restores and verifies', async () => {
  const { vault } = encrypted;
  await vault.assertRestores();
  await vault.assertVerifies();
});

test('M12 without encryption the format is the same: sealed objects, and their key in a slot', async () => {
  const open = await usedRepository(undefined);
  const kinds = ({ location }: MissionRepository): string[] => {
    const names = filesIn(location).map((name) => name.split('/')[0]!);
    return [...new Set(names)];
  };
  assert.deepEqual(kinds(open.vault), kinds(encrypted.vault));
  const packs = async (vault: MissionRepository): Promise<(string | number)[][]> =>
    await vault.use('read', async ({ state }) => {
      // Pages hold ids, which are random: how they compress differs by a few bytes.
      const sizes = Array.from(state.packs.values(), ({ kind, sizeBytes }) =>
        kind === 'data' ? [kind, sizeBytes] : [kind],
      );
      return await Promise.resolve(sizes);
    });
  assert.deepEqual(await packs(open.vault), await packs(encrypted.vault), 'as large to the byte');
  // Nothing is stored in another way: only the key's slot differs.
  assert.deepEqual(
    search(open.vault.location, [...blockMarkers(), ...wordMarkers([ITEM, ...DISKS])]),
    [],
  );
  const slots = ({ location }: MissionRepository): string[] =>
    filesIn(join(location, 'keys'))
      .map((name) => (JSON.parse(readFileSync(join(location, 'keys', name), 'utf8')) as Slot).kdf)
      .sort();
  assert.deepEqual(slots(open.vault), ['none', 'recovery', 'scrypt']);
  assert.deepEqual(slots(encrypted.vault), ['recovery', 'scrypt', 'scrypt']);
  await open.vault.assertRestores();
});

type Slot = { readonly kdf: string };
