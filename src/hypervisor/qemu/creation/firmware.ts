/** Gives a command line a copy of its own of its UEFI variables, and a TPM of its own. */
import { changeSettings, settingsOf, type Argument } from './arguments.ts';
import { readNodes, writeNode, type BlockNode } from './block-nodes.ts';
import { flashNodes } from './drives.ts';

const VARIABLES_UNIT = 1;

/** Whether the VM keeps UEFI variables; then they are read from `path` from now on. */
export function useVariables(parsed: readonly Argument[], path: string): boolean {
  let flash = 0;
  for (const argument of parsed) {
    if (argument.flag !== 'drive' || settingsOf(argument).get('if') !== 'pflash') continue;
    const settings = settingsOf(argument);
    const unit = Number(settings.get('unit') ?? settings.get('index') ?? flash);
    flash = unit + 1;
    if (unit !== VARIABLES_UNIT) continue;
    changeSettings(argument, (changed) => {
      changed.remove('file.filename', 'file.driver');
      changed.set('file', path);
    });
    return true;
  }
  const nodes = readNodes(parsed);
  const name = [...flashNodes(parsed)].find(([, unit]) => unit === VARIABLES_UNIT)?.[0];
  const named = name === undefined ? undefined : nodes.get(name);
  if (named === undefined) return false;
  const file = fileNode(named.node, (below) => nodes.get(below)?.node);
  if (file === undefined) return false;
  file['filename'] = path;
  for (const node of nodes.values()) writeNode(node);
  return true;
}

function fileNode(
  node: BlockNode,
  find: (name: string) => BlockNode | undefined,
): BlockNode | undefined {
  if ('filename' in node) return node;
  const file = node['file'];
  const below = typeof file === 'string' ? find(file) : file;
  return typeof below === 'object' && below !== null ? fileNode(below, find) : undefined;
}

/** Whether the VM has an emulated TPM (swtpm); then QEMU connects to it at `path` from now on. */
export function useTpm(parsed: readonly Argument[], path: string): boolean {
  const tpm = parsed
    .filter(({ flag }) => flag === 'tpmdev')
    .map((argument) => settingsOf(argument))
    .find((settings) => settings.get('type') === 'emulator');
  const chardev = tpm?.get('chardev');
  if (chardev === undefined) return false;
  for (const argument of parsed) {
    if (argument.flag !== 'chardev' || settingsOf(argument).get('id') !== chardev) continue;
    argument.value = `socket,id=${chardev},path=${path.replaceAll(',', ',,')}`;
  }
  return true;
}
