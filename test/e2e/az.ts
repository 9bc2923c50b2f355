/** The real `az` (Debian's azure-cli), pointed to a service by `holdfast env`. */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Serving } from './serving.ts';
import type { AnyJson } from '../../src/api/testing/any-json.ts';

const run = promisify(execFile);
const HOLDFAST = resolve('bin/holdfast');

/** Debian 12's azure-cli asks Compute for an API that its own library lacks. */
const COMPUTE_SHIM = `
try:
    from azure.cli.core.profiles._shared import AZURE_API_PROFILES as P, ResourceType as T
    p = P['latest'][T.MGMT_COMPUTE].profile
    for k in [k for k, v in p.items() if v == '2022-11-01']: p[k] = '2022-08-01'
except Exception: pass
`;

export type Az = (...args: readonly string[]) => Promise<AzResult>;

type AzResult = {
  readonly code: number;
  /** What it printed, as JSON; undefined for nothing. */
  readonly json: AnyJson;
  readonly stderr: string;
};

/** Logged in, by what `holdfast env` prints and nothing else. */
export async function azOf(serving: Serving): Promise<Az> {
  const shim = join(serving.folder, 'shim');
  mkdirSync(shim, { recursive: true });
  writeFileSync(join(shim, 'sitecustomize.py'), COMPUTE_SHIM);
  const script = `eval "$('${HOLDFAST}' env --data '${serving.data}')" && env -0`;
  const { stdout } = await run('sh', ['-c', script], { env: { ...process.env, PYTHONPATH: shim } });
  const pairs = stdout.split('\0').filter((pair) => pair.includes('='));
  const env = Object.fromEntries(
    pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
  return async (...args) => await runAz(args, env);
}

async function runAz(args: readonly string[], env: NodeJS.ProcessEnv): Promise<AzResult> {
  try {
    const { stdout, stderr } = await run('az', [...args, '--output', 'json'], { env });
    return { code: 0, json: parse(stdout), stderr };
  } catch (error) {
    const failed = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof failed.code !== 'number') throw error;
    return { code: failed.code, json: parse(failed.stdout ?? ''), stderr: failed.stderr ?? '' };
  }
}

function parse(text: string): unknown {
  return text.trim() === '' ? undefined : JSON.parse(text);
}
