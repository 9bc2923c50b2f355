/** The composition root: the one file that knows every room, reads time, randomness and environment. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { hostname, tmpdir, uptime } from 'node:os';
import { join } from 'node:path';
import type { RunningService, ServeOptions, ServiceEnvironment, Surroundings } from '#cli';

// As bin/holdfast, for whoever starts this file directly.
enableCompileCache(join(import.meta.dirname, '../node_modules/.cache/holdfast'));

// After the cache is on, so that it serves these too.
const [{ realClock }, { Interruption, runCli }] = await Promise.all([
  import('#base'),
  import('#cli'),
]);

process.exit(await runCli(process.argv.slice(2), surroundings()));

function surroundings(): Surroundings {
  const { HOLDFAST_PASSWORD, HOLDFAST_DEBUG } = process.env;
  const service = serviceEnvironment();
  // The tools that we start need not know them.
  delete process.env['HOLDFAST_PASSWORD'];
  delete process.env['HOLDFAST_CLIENT_SECRET'];
  const { stdin, stdout, stderr, pid } = process;
  for (const stream of [stdout, stderr]) stream.on('error', ignoreClosedPipe);
  return {
    clock: realClock(),
    random: (sizeBytes) => randomBytes(sizeBytes),
    version: readVersion(),
    host: hostname(),
    pid,
    stdin,
    stdout,
    stderr,
    signal: signalOfInterrupts(),
    serve,
    environment: {
      password: HOLDFAST_PASSWORD,
      showsStacks: HOLDFAST_DEBUG === '1',
      temporaryFolder: tmpdir(),
      service,
    },
  };
}

function serviceEnvironment(): ServiceEnvironment {
  const { HOME, XDG_STATE_HOME, ...env } = process.env;
  const isAbsolute = XDG_STATE_HOME?.startsWith('/') === true;
  const states = isAbsolute
    ? XDG_STATE_HOME
    : HOME === undefined
      ? undefined
      : `${HOME}/.local/state`;
  return {
    data: env['HOLDFAST_DATA'],
    url: env['HOLDFAST_URL'],
    caFile: env['HOLDFAST_CA_FILE'],
    tenantId: env['HOLDFAST_TENANT_ID'],
    subscriptionId: env['HOLDFAST_SUBSCRIPTION_ID'],
    clientId: env['HOLDFAST_CLIENT_ID'],
    clientSecret: env['HOLDFAST_CLIENT_SECRET'],
    usualData: states === undefined ? undefined : join(states, 'holdfast'),
  };
}

async function serve({ data, logsAll, ...options }: ServeOptions): Promise<RunningService> {
  const [{ openService }, { makeLog, requireListenable, startApi }] = await Promise.all([
    import('#service'),
    import('#api'),
  ]);
  const clock = realClock();
  const [machine, { pid, stderr }] = [hostname(), process];
  const log = makeLog(clock, stderr);
  const isFirstStart = !existsSync(join(data, 'master.key'));
  if (isFirstStart) await requireListenable(options);
  const service = await openService({
    data,
    clock,
    random: (sizeBytes) => randomBytes(sizeBytes),
    version: readVersion(),
    process: { host: machine, pid, command: 'holdfast serve' },
    machine: { bootId: readBootId(), upMs: () => uptime() * 1000 },
    log: logsAll ? log : { ...log, info: () => {} },
  });
  try {
    const api = await startApi(service, { ...options, machine });
    const close = async (): Promise<void> => {
      await api.close();
      await service.close();
    };
    return { ...api, host: options.host, close };
  } catch (error) {
    await service.close();
    throw error;
  }
}

function readBootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return undefined; // No Linux: then every start may be one of the machine.
  }
}

/** Whoever read our output has enough of it (`| head`): no reason to leave work half done. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

/** Aborted by the first Ctrl-C; the second ends the process at once. */
function signalOfInterrupts(): AbortSignal {
  const controller = new AbortController();
  const interrupt = (signal: NodeJS.Signals): void => {
    const interruption = new Interruption(signal);
    if (controller.signal.aborted) process.exit(interruption.exitCode);
    controller.abort(interruption);
  };
  const ignoresHangup = process.env['HOLDFAST_IGNORES_HANGUP'] === '1';
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  process.on('SIGHUP', ignoresHangup ? () => {} : interrupt);
  return controller.signal;
}

function readVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}
