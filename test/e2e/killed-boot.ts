/** `holdfast vm boot`, killed as by a crash when it has come so far. */
import assert from 'node:assert/strict';
import { ended, start } from '../cli/holdfast.ts';

/** Runs the command until it has said `said`, does `then`, and ends it by SIGKILL. */
export async function killedAt(
  args: readonly string[],
  said: RegExp,
  then?: () => Promise<void>,
): Promise<void> {
  const child = start(args);
  child.stdin.end();
  let heard = '';
  const told = new Promise<void>((resolve) => {
    child.stderr.on('data', (text: Buffer | string) => {
      heard += text.toString();
      if (said.test(heard)) resolve();
    });
  });
  const over = ended(child);
  const early = over.then(({ stderr }) => assert.fail(`it ended by itself: ${stderr}`));
  await Promise.race([told, early]);
  await then?.();
  early.catch(() => {}); // It is ended by us now.
  child.kill('SIGKILL');
  await over;
}
