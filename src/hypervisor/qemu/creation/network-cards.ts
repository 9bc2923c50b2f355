/**
 * What a VM's network cards are plugged into, and their addresses. A card without a network stays in the VM,
 * unplugged: so the guest's devices keep their places.
 *
 * ```
 *   -netdev KIND,id=N  -device MODEL,netdev=N,mac=M      -nic KIND,model=MODEL,mac=M      (-net: as it was)
 * ```
 */
import type { NetworkCard } from '../../vm.ts';
import type { DefineRequest } from '../../vm-creation.ts';
import { changeSettings, settingsOf, type Argument, type Settings } from './arguments.ts';
import { newMac } from './identity.ts';

const NETDEV =
  /^(user|tap|bridge|socket|stream|dgram|vde|l2tpv3|vhost-user|vhost-vdpa|passt|netmap|hubport)(,|$)/;
/** Settings of `-nic` that are of the card. */
const OF_CARD = new Set(['model', 'mac', 'addr', 'id', 'vectors']);

type Plan = Pick<DefineRequest, 'networks' | 'identity'> & {
  readonly cards: readonly NetworkCard[];
  readonly random: (byteCount: number) => Buffer;
  readonly warn: (message: string) => void;
};

export type PluggedCards = {
  readonly parsed: Argument[];
  readonly cards: readonly NetworkCard[];
};

export function plugCards(original: readonly Argument[], plan: Plan): PluggedCards {
  const parsed = original.map((argument) => ({ ...argument }));
  const left = [...plan.cards];
  const plugged = parsed.filter(isCard).map((argument, place) => {
    const { card, network } = newCard(settingsOf(argument), { plan, left });
    const netdev = plugIn(argument, { mac: card.mac, network, place });
    return { argument, card, netdev };
  });
  const withNetworks = parsed.flatMap((argument) => {
    const netdev = plugged.find((one) => one.argument === argument)?.netdev;
    return netdev === undefined ? [argument] : [netdev, argument];
  });
  const cards = plugged.map(({ card }) => card);
  if (plan.networks !== 'same') return { parsed: withoutNetworks(withNetworks, plan), cards };
  if (plan.identity === 'new') freeHostPorts(withNetworks, plan.warn);
  return { parsed: withNetworks, cards };
}

function isCard(argument: Argument): boolean {
  const settings = settingsOf(argument);
  if (argument.flag === 'nic') return settings.get('type') !== 'none';
  return argument.flag === 'device' && (settings.has('netdev') || settings.has('mac'));
}

type Planned = { readonly plan: Plan; readonly left: NetworkCard[] };

/** `network`: as `networkOf` gives it. */
function newCard(
  settings: Settings,
  { plan, left }: Planned,
): { readonly card: NetworkCard; readonly network: string | undefined } {
  const model = settings.get('driver') ?? settings.get('model');
  const old = takeCard(left, { mac: settings.get('mac'), model });
  const oldMac = old?.mac ?? settings.get('mac') ?? '';
  const network = networkOf(plan, oldMac);
  const kept = network === 'same' ? old?.network : network;
  const card = {
    mac: plan.identity === 'new' || oldMac === '' ? newMac(plan.random) : oldMac,
    ...(model === undefined ? {} : { model }),
    ...(kept === undefined ? {} : { network: kept }),
  };
  return { card, network };
}

/** By its address; without one, the first of its model: QEMU has numbered them itself. */
function takeCard(
  left: NetworkCard[],
  wanted: { readonly mac: string | undefined; readonly model: string | undefined },
): NetworkCard | undefined {
  const mac = wanted.mac?.toLowerCase();
  const at = left.findIndex((card) =>
    mac === undefined
      ? card.model === undefined ||
        wanted.model === undefined ||
        card.model.startsWith(wanted.model)
      : card.mac.toLowerCase() === mac,
  );
  return at < 0 ? undefined : left.splice(at, 1)[0];
}

/** `same`; undefined: none; else as `-netdev` takes it, without an id. */
function networkOf({ networks }: Plan, mac: string): string | undefined {
  if (networks === 'same') return 'same';
  const network = networks === 'none' ? undefined : networks.get(mac.toLowerCase());
  if (network === undefined) return undefined;
  return NETDEV.test(network) ? network : `bridge,br=${network}`;
}

type Change = {
  readonly mac: string;
  readonly network: string | undefined;
  readonly place: number;
};

/** The network that must be there before the card. */
function plugIn(argument: Argument, { mac, network, place }: Change): Argument | undefined {
  changeSettings(argument, (settings) => settings.set('mac', mac));
  if (network === 'same') return undefined;
  if (argument.flag === 'nic') {
    const settings = settingsOf(argument);
    const card = settings.keys().filter((key) => OF_CARD.has(key));
    const ofCard = card.map((key) => `,${key}=${settings.get(key)}`);
    argument.value = network === undefined ? 'none' : `${network}${ofCard.join('')}`;
    return undefined;
  }
  const id = `restored-net${place}`;
  changeSettings(argument, (settings) => {
    if (network === undefined) settings.remove('netdev');
    else settings.set('netdev', id);
  });
  return network === undefined ? undefined : { flag: 'netdev', value: `${network},id=${id}` };
}

/** Old networks go; and QEMU plugs no card in by itself. */
function withoutNetworks(parsed: readonly Argument[], { warn }: Plan): Argument[] {
  const used = new Set(
    parsed.flatMap((argument) =>
      argument.flag === 'device' ? [settingsOf(argument).get('netdev') ?? ''] : [],
    ),
  );
  if (parsed.some(({ flag }) => flag === 'net')) {
    warn('its cards of the old kind (-net) are left out: they cannot be plugged in one by one');
  }
  const nics = parsed.filter(({ flag, value }) => flag === 'nic' && value !== 'none');
  const kept = parsed.filter((argument) => {
    if (argument.flag === 'netdev') return used.has(settingsOf(argument).get('id') ?? '');
    return argument.flag !== 'net' && (argument.flag !== 'nic' || nics.includes(argument));
  });
  return nics.length > 0 ? kept : [...kept, { flag: 'nic', value: 'none' }];
}

/** What the host has once, and the old VM may have. */
function freeHostPorts(parsed: readonly Argument[], warn: (message: string) => void): void {
  for (const argument of parsed) {
    if (!['netdev', 'nic', 'net'].includes(argument.flag)) continue;
    const settings = settingsOf(argument);
    const isTap = settings.get('type') === 'tap';
    const once = ['hostfwd', ...(isTap ? ['ifname'] : [])].filter((key) => settings.has(key));
    if (once.length === 0) continue;
    for (const key of once)
      warn(`${key}=${settings.get(key)} of its network is left out: the old VM may have it`);
    settings.remove(...once);
    argument.value = settings.toString();
  }
}
