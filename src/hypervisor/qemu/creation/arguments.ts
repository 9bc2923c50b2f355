/**
 * QEMU's command line as a list that can be changed and written again, argument by argument.
 *
 * An option's settings have three forms: `virtio-blk-pci,drive=d0` (a comma in a value is doubled, and the
 * first may go without its key), the same with bare words (`server,nowait`), and one JSON object.
 */

export type Argument = {
  /** Without its hyphens; empty for an image given as such. */
  readonly flag: string;
  value?: string;
};

/** All of QEMU's flags that take nothing (qemu-options.hx). */
const BARE = new Set(
  (
    'h help version snapshot nographic no-fd-bootchk no-acpi no-hpet enable-kvm no-kvm S s daemonize ' +
    'no-reboot no-shutdown nodefaults no-user-config nodefconfig full-screen usb singlestep ' +
    'win2k-hack mem-prealloc curses sdl preconfig only-migratable portrait enable-fips ' +
    'no-quit alt-grab ctrl-grab no-frame localtime xen-attach xen-domid-restrict old-param ' +
    'semihosting enable-sync-profile'
  ).split(' '),
);

export function parseArguments(words: readonly string[]): Argument[] {
  const parsed: Argument[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at]!;
    if (!word.startsWith('-')) {
      parsed.push({ flag: '', value: word });
      continue;
    }
    const flag = word.replace(/^--?/, '');
    const next = words[at + 1];
    if (BARE.has(flag) || next === undefined) parsed.push({ flag });
    else {
      parsed.push({ flag, value: next });
      at += 1;
    }
  }
  return parsed;
}

export function formatArguments(parsed: readonly Argument[]): string[] {
  return parsed.flatMap(({ flag, value }) => [
    ...(flag === '' ? [] : [`-${flag}`]),
    ...(value === undefined ? [] : [value]),
  ]);
}

type Entry = { readonly key: string; value: string | undefined };

/** The settings of one option. What is not changed is written as it was read. */
export class Settings {
  readonly #json: Record<string, unknown> | undefined;
  readonly #entries: Entry[];
  readonly #first: string;

  /** `first`: the key of a first value that has none. */
  constructor(text: string, first = '') {
    this.#first = first;
    this.#json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : undefined;
    this.#entries = this.#json === undefined ? entriesOf(text, first) : [];
  }

  get(key: string): string | undefined {
    if (this.#json !== undefined) {
      const value = this.#json[key];
      if (value === undefined || typeof value === 'string') return value;
      return JSON.stringify(value);
    }
    const entry = this.#entries.findLast((one) => one.key === key);
    return entry === undefined ? undefined : (entry.value ?? 'on');
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  keys(): readonly string[] {
    return this.#json === undefined ? this.#entries.map(({ key }) => key) : Object.keys(this.#json);
  }

  set(key: string, value: string): void {
    if (this.#json !== undefined) {
      this.#json[key] = value;
      return;
    }
    const entry = this.#entries.findLast((one) => one.key === key);
    if (entry === undefined) this.#entries.push({ key, value });
    else entry.value = value;
  }

  /** Every setting of this key. */
  remove(...keys: readonly string[]): void {
    for (const key of keys) {
      if (this.#json !== undefined) delete this.#json[key];
    }
    const kept = this.#entries.filter(({ key }) => !keys.includes(key));
    this.#entries.splice(0, this.#entries.length, ...kept);
  }

  toString(): string {
    if (this.#json !== undefined) return JSON.stringify(this.#json);
    return this.#entries
      .map(({ key, value }, at) => {
        if (value === undefined) return escaped(key);
        if (at === 0 && key === this.#first && key !== '') return escaped(value);
        return `${key}=${escaped(value)}`;
      })
      .join(',');
  }
}

export function escaped(text: string): string {
  return text.replaceAll(',', ',,');
}

function entriesOf(text: string, first: string): Entry[] {
  return splitOptions(text).map((option, at) => {
    const end = option.indexOf('=');
    if (end >= 0) return { key: option.slice(0, end), value: option.slice(end + 1) };
    return at === 0 && first !== ''
      ? { key: first, value: option }
      : { key: option, value: undefined };
  });
}

/** At single commas; doubled ones are made single. */
export function splitOptions(text: string): string[] {
  const parts = [''];
  for (let at = 0; at < text.length; at += 1) {
    const isComma = text[at] === ',';
    if (isComma && text[at + 1] !== ',') parts.push('');
    else {
      parts[parts.length - 1] += text[at]!;
      if (isComma) at += 1;
    }
  }
  return parts.filter((part, at) => part !== '' || at === 0);
}

/** The key that a first value without one has, by flag. */
const FIRST_KEYS: Readonly<Record<string, string>> = {
  accel: 'accel',
  chardev: 'backend',
  device: 'driver',
  machine: 'type',
  M: 'type',
  name: 'guest',
  net: 'type',
  netdev: 'type',
  nic: 'type',
  object: 'qom-type',
  tpmdev: 'type',
  vnc: 'display',
};

export function settingsOf({ flag, value = '' }: Argument): Settings {
  return new Settings(value, FIRST_KEYS[flag]);
}

/** Changes the settings of one option in place. */
export function changeSettings(argument: Argument, change: (settings: Settings) => void): void {
  const settings = settingsOf(argument);
  change(settings);
  argument.value = settings.toString();
}
