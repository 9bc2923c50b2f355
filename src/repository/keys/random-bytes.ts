/**
 * Randomness, injected: `crypto.randomBytes` in the program, a seeded source in tests. Keys, salts and
 * nonces come from it, so nothing else may stand behind it in the program.
 */
export type RandomBytes = (sizeBytes: number) => Buffer;
