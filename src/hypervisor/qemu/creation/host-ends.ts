/**
 * Where a VM meets its host: sockets, files and ports that the old VM may still have. They move into the new
 * VM's folder, with the VM's name before theirs, or go; its monitors are one, ours.
 */
import { statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { changeSettings, settingsOf, type Argument, type Settings } from './arguments.ts';

export type HostEnds = {
  /** The beginning of every path: a folder and the VM's name. */
  readonly place: (name: string) => string;
  readonly agentPath: string | undefined;
  /** `new`: the old VM may run, and has its ports. */
  readonly identity: 'new' | 'same';
  readonly warn: (message: string) => void;
};

const AGENT = 'org.qemu.guest_agent.0';
const MONITORS = new Set(['qmp', 'qmp-pretty', 'mon', 'monitor']);
/** Of one run, or of one process, and not of the VM. */
const OF_A_RUN = new Set([
  'S',
  'snapshot',
  'loadvm',
  'incoming',
  'preconfig',
  'daemonize',
  'pidfile',
  'D',
  'gdb',
  's',
]);
/** Ends of a window, which a VM that runs by itself has none of. */
const WINDOWS = /^(gtk|sdl|curses|cocoa|spice-app|default)(,|$)/;
const PORTS = new Set(['serial', 'parallel', 'debugcon']);
const NO_DISPLAY: Argument = { flag: 'display', value: 'none' };
/** A device of the host belongs to one VM at a time. */
const OF_THE_HOST = /^(vfio-|usb-host)/;

export function moveHostEnds(original: readonly Argument[], ends: HostEnds): Argument[] {
  const agent = agentChardev(original);
  const isMonitor = monitorChardevs(original);
  const moved = original.flatMap((argument): Argument[] => {
    const { flag } = argument;
    if (MONITORS.has(flag) || OF_A_RUN.has(flag)) return [];
    if (flag === 'chardev') {
      const id = settingsOf(argument).get('id') ?? '';
      if (isMonitor.has(id) && id !== agent) return [];
      return [id === agent ? agentArgument(id, ends) : movedChardev({ ...argument }, ends)];
    }
    if (flag === 'device') return deviceOfHost(argument, ends) ? [] : [argument];
    if (flag === 'object') return [sharedMemory({ ...argument })];
    return shortForms(argument, ends);
  });
  const hasScreen = moved.some(({ flag }) =>
    ['display', 'vnc', 'spice', 'nographic'].includes(flag),
  );
  return hasScreen ? moved : [...moved, NO_DISPLAY];
}

/** Whether the VM has a channel to a guest agent. */
export function agentChardev(parsed: readonly Argument[]): string | undefined {
  for (const argument of parsed) {
    if (argument.flag !== 'device') continue;
    const settings = settingsOf(argument);
    if (settings.get('name') === AGENT) return settings.get('chardev');
  }
  return undefined;
}

function monitorChardevs(parsed: readonly Argument[]): ReadonlySet<string> {
  const used = new Set<string>();
  for (const argument of parsed) {
    if (argument.flag === 'mon') used.add(settingsOf(argument).get('chardev') ?? '');
  }
  for (const argument of parsed) {
    if (argument.flag === 'device') used.delete(settingsOf(argument).get('chardev') ?? '');
    if (argument.flag === 'serial') used.delete(argument.value?.replace(/^chardev:/, '') ?? '');
  }
  return used;
}

function agentArgument(id: string, { agentPath, place }: HostEnds): Argument {
  const path = (agentPath ?? place('qga.sock')).replaceAll(',', ',,');
  return { flag: 'chardev', value: `socket,id=${id},path=${path},server=on,wait=off` };
}

/** A socket that it connects to is another program's, and stays. */
function movedChardev(argument: Argument, { place }: HostEnds): Argument {
  changeSettings(argument, (settings) => {
    const kind = settings.get('backend') ?? '';
    if (kind === 'stdio' || kind === 'pipe') {
      settings.set('backend', 'null');
      settings.remove('signal', 'mux', 'path');
    }
    for (const key of ['logfile', ...(kind === 'file' ? ['path'] : [])]) {
      const path = settings.get(key);
      if (path !== undefined) settings.set(key, place(basename(path)));
    }
    const serves = ['on', 'true', 'yes'].includes(settings.get('server') ?? '');
    if (kind === 'socket' && serves) listenAt(settings, place);
  });
  return argument;
}

function listenAt(settings: Settings, place: HostEnds['place']): void {
  const name = basename(settings.get('path') ?? `${settings.get('id')}.sock`);
  settings.remove('host', 'port', 'to', 'ipv4', 'ipv6', 'nodelay', 'delay', 'abstract', 'tight');
  settings.remove('telnet', 'tn3270', 'websocket', 'tls-creds', 'tls-authz', 'wait', 'nowait');
  settings.set('path', place(name));
  settings.set('wait', 'off');
}

function deviceOfHost(argument: Argument, { identity, warn }: HostEnds): boolean {
  const driver = settingsOf(argument).get('driver') ?? '';
  if (identity === 'same' || !OF_THE_HOST.test(driver)) return false;
  warn(`${driver} is left out: a device of the host belongs to one VM at a time`);
  return true;
}

/** Two VMs on one file of memory would destroy each other. */
function sharedMemory(argument: Argument): Argument {
  changeSettings(argument, (settings) => {
    const path = settings.get('mem-path');
    const isFile = settings.get('qom-type') === 'memory-backend-file';
    // A folder is a file system of huge pages, where each VM gets a file of its own.
    if (!isFile || path === undefined || isFolder(path)) return;
    settings.set('qom-type', 'memory-backend-memfd');
    settings.remove('mem-path', 'discard-data', 'pmem', 'align', 'readonly');
  });
  return argument;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** `-serial unix:…`, `-vnc :1` and others that say it in a word of their own. */
function shortForms(argument: Argument, ends: HostEnds): Argument[] {
  const { flag, value = '' } = argument;
  if (PORTS.has(flag)) return [{ flag, value: movedPort(value, { flag, ...ends }) }];
  switch (flag) {
    case 'curses':
    case 'sdl':
      return [NO_DISPLAY];
    case 'nographic':
      return [NO_DISPLAY, { flag: 'serial', value: 'null' }];
    case 'display':
      if (WINDOWS.test(value)) return [NO_DISPLAY];
      return value.startsWith('vnc=') ? screenOnSocket('vnc', ends, argument) : [argument];
    case 'vnc':
    case 'spice':
      return value === 'none' ? [argument] : screenOnSocket(flag, ends, argument);
    default:
      return [argument];
  }
}

function screenOnSocket(
  kind: 'vnc' | 'spice',
  { identity, place, warn }: HostEnds,
  old: Argument,
): Argument[] {
  if (identity === 'same') return [old];
  const path = place(`${kind}.sock`).replaceAll(',', ',,');
  warn(`its screen (${kind}) is on the socket ${path}: the old VM may have the port`);
  if (kind === 'vnc') return [{ flag: 'vnc', value: `unix:${path}` }];
  return [{ flag: 'spice', value: `unix=on,addr=${path},disable-ticketing=on` }];
}

function movedPort(
  value: string,
  { flag, place }: { readonly flag: string; readonly place: HostEnds['place'] },
): string {
  const text = value.replace(/^mon:/, '');
  const [kind = ''] = text.split(':');
  const [target = ''] = text.slice(kind.length + 1).split(',');
  if (kind === 'stdio' || kind === 'pipe' || kind === 'vc') return 'null';
  if (kind === 'file') return `file:${place(basename(target))}`;
  const serves = /,server(?!=off)/.test(text);
  if (!serves || !['unix', 'tcp', 'telnet', 'websocket'].includes(kind)) return text;
  const name = kind === 'unix' ? basename(target) : `${flag}.sock`;
  return `unix:${place(name)},server=on,wait=off`;
}

export function placeIn(directory: string, vm: string): HostEnds['place'] {
  return (name) => join(directory, `${fileName(vm)}-${name}`);
}

/** VMs may have names that no file can have. */
export function fileName(vm: string): string {
  return vm.replaceAll('/', '_').replace(/^\./, '_');
}
