/** Whether this host has what a command line needs besides its disks, before anything is made for it. */
import { constants, existsSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { HoldfastError } from '#base';
import { runTool } from '#disk';
import { parseArguments, settingsOf, type Argument } from './arguments.ts';
import { flashNodes } from './drives.ts';
import { readNodes } from './block-nodes.ts';

const READ_FILES = new Set(['kernel', 'initrd', 'dtb', 'bios']);
const KVM = '/dev/kvm';

/**
 * Asks the emulator for its machine types, and with `starts` whether KVM may be used; looks for firmware,
 * kernels and bridges.
 *
 * @throws {HoldfastError} `DefinitionUnsupported`, `ToolMissing`.
 */
export async function checkHost(
  [program = '', ...rest]: readonly string[],
  { starts }: { readonly starts: boolean },
): Promise<void> {
  const parsed = parseArguments(rest);
  await refuseMachine(program, parsed);
  for (const path of filesRead(parsed)) {
    if (path.startsWith('/') && !existsSync(path)) throw unsupported(`this host has no "${path}"`);
  }
  for (const bridge of bridges(parsed)) {
    if (existsSync(`/sys/class/net/${bridge}`)) continue;
    throw unsupported(
      `this host has no bridge "${bridge}"; or choose with --network MAC=NETWORK or --network none`,
    );
  }
  if (starts && needsKvm(parsed)) await refuseWithoutKvm();
}

async function refuseMachine(program: string, parsed: readonly Argument[]): Promise<void> {
  const result = await runTool({ command: program, args: ['-machine', 'help'] });
  if ('complaint' in result) throw unsupported(`${program}: ${oneLine(result.complaint)}`);
  const known = new Set(result.output.split('\n').map((line) => line.split(' ')[0]));
  const wanted = parsed
    .filter(({ flag }) => flag === 'machine' || flag === 'M')
    .map((argument) => settingsOf(argument).get('type'))
    .findLast((type) => type !== undefined);
  if (wanted === undefined || known.has(wanted)) return;
  throw unsupported(`${program} of this host has no machine type "${wanted}"`);
}

function filesRead(parsed: readonly Argument[]): string[] {
  const named = parsed.filter(({ flag }) => READ_FILES.has(flag)).map(({ value = '' }) => value);
  const flash = parsed
    .filter((argument) => argument.flag === 'drive' && settingsOf(argument).get('if') === 'pflash')
    .filter((argument) => ['on', 'true'].includes(readonlyOf(argument) ?? ''))
    .map((argument) => settingsOf(argument).get('file') ?? '');
  const nodes = readNodes(parsed);
  const units = [...flashNodes(parsed)].filter(([, unit]) => unit === 0);
  const firmware = units.flatMap(([name]) => {
    const node = nodes.get(name)?.node;
    const file = node?.['file'];
    const below = typeof file === 'string' ? nodes.get(file)?.node : file;
    const path = (below as Record<string, unknown> | undefined)?.['filename'] ?? node?.['filename'];
    return typeof path === 'string' ? [path] : [];
  });
  return [...named, ...flash, ...firmware];
}

function readonlyOf(argument: Argument): string | undefined {
  const settings = settingsOf(argument);
  return settings.get('readonly') ?? settings.get('read-only');
}

function bridges(parsed: readonly Argument[]): string[] {
  return parsed
    .filter(({ flag }) => flag === 'netdev' || flag === 'nic' || flag === 'net')
    .map((argument) => settingsOf(argument))
    .filter((settings) => settings.get('type') === 'bridge')
    .map((settings) => settings.get('br') ?? 'br0');
}

/** Where nothing else would do. */
function needsKvm(parsed: readonly Argument[]): boolean {
  const wanted = parsed.flatMap((argument) => {
    if (argument.flag === 'enable-kvm') return ['kvm'];
    if (argument.flag !== 'accel' && argument.flag !== 'machine' && argument.flag !== 'M')
      return [];
    return (settingsOf(argument).get('accel') ?? '').split(':').filter((one) => one !== '');
  });
  return wanted.length > 0 && wanted.every((one) => one === 'kvm');
}

async function refuseWithoutKvm(): Promise<void> {
  try {
    await access(KVM, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw unsupported(
      `its command line asks for KVM, which this host does not give (${(error as Error).message}): load the module (kvm_intel, kvm_amd), and see to the permissions of ${KVM}`,
    );
  }
}

function oneLine(text: string): string {
  return text.split('\n').join('; ');
}

function unsupported(reason: string): HoldfastError {
  return new HoldfastError(
    'DefinitionUnsupported',
    `this VM cannot be made here, and nothing was written: ${reason}`,
  );
}
