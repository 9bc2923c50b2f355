/** Who a VM is: its name, its UUID, its generation. MAC addresses are with its cards. */
import { changeSettings, settingsOf, type Argument } from './arguments.ts';

type Random = (byteCount: number) => Buffer;

/** A random UUID (RFC 9562, version 4). */
export function newUuid(random: Random): string {
  const bytes = random(16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-');
}

/** In the range that QEMU gives to guests; locally administered. */
export function newMac(random: Random): string {
  const rest = [...random(3)].map((byte) => byte.toString(16).padStart(2, '0'));
  return ['52:54:00', ...rest].join(':');
}

/** `uuid` undefined: as it was. */
export function useIdentity(
  parsed: readonly Argument[],
  { name, uuid }: { readonly name: string; readonly uuid: string | undefined },
): Argument[] {
  const kept = parsed.filter(
    ({ flag }) => flag !== 'name' && (flag !== 'uuid' || uuid === undefined),
  );
  const debugs = parsed.find(
    (argument) => argument.flag === 'name' && settingsOf(argument).has('debug-threads'),
  );
  if (uuid !== undefined) {
    for (const argument of kept) if (argument.flag === 'smbios') renewSmbios(argument, uuid);
  }
  for (const argument of kept) if (argument.flag === 'device') renewGeneration(argument);
  const threads = debugs === undefined ? '' : ',debug-threads=on';
  return [
    { flag: 'name', value: `guest=${name.replaceAll(',', ',,')}${threads}` },
    ...(uuid === undefined ? [] : [{ flag: 'uuid', value: uuid }]),
    ...kept,
  ];
}

function renewSmbios(argument: Argument, uuid: string): void {
  changeSettings(argument, (settings) => {
    if (settings.has('uuid')) settings.set('uuid', uuid);
  });
}

/** The guest is told that it is at another time of its life, whoever it is. */
function renewGeneration(argument: Argument): void {
  changeSettings(argument, (settings) => {
    if (settings.get('driver') === 'vmgenid') settings.set('guid', 'auto');
  });
}
