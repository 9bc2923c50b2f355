/** The VMs of a history: small images that are written, grow, shrink, come and go while nobody looks. */
import type { Model, ModelVm } from './model.ts';
import { pick, type Draw } from './policies.ts';
import type { World } from './world.ts';

export const VMS = ['a', 'b', 'c'];
const MOST_BLOCKS = 8;

export class Machines {
  readonly #world: World;
  readonly #model: Model;
  readonly #draw: Draw;

  constructor(of: { readonly world: World; readonly model: Model }, draw: Draw) {
    this.#world = of.world;
    this.#model = of.model;
    this.#draw = draw;
  }

  /** The first one has two disks. */
  async begin(): Promise<void> {
    for (const name of VMS) {
      const content = new Map([['sda', this.#tokens(2 + this.#draw(4))]]);
      if (name === VMS[0]) content.set('sdb', this.#tokens(1 + this.#draw(6)));
      this.#model.vms.set(name, { name, content, isThere: true, isKnownGone: false });
      this.#world.writeVm(name, content);
    }
    await this.#world.discover();
  }

  write(vm: string): void {
    const known = this.#vm(vm);
    if (!known.isThere) return;
    const tokens = pick(this.#draw, [...known.content.values()]);
    tokens[this.#draw(tokens.length)] = this.#token();
    this.#world.writeVm(vm, known.content);
  }

  /** One disk more or less, or one larger or smaller; the host is looked at. */
  async changeDisks(vm: string): Promise<void> {
    const { content, isThere } = this.#vm(vm);
    if (!isThere) return;
    const [disk, tokens] = pick(this.#draw, [...content]);
    const kind = pick(this.#draw, ['grow', 'grow', 'shrink', 'add', 'remove']);
    if (kind === 'grow' && tokens.length < MOST_BLOCKS) tokens.push(this.#token());
    if (kind === 'shrink' && tokens.length > 1) tokens.pop();
    if (kind === 'remove' && disk !== 'sda') content.delete(disk);
    if (kind === 'add' && !content.has('sdb')) content.set('sdb', this.#tokens(2));
    this.#world.writeVm(vm, content);
    await this.discover();
  }

  /** Away or back. */
  async move(vm: string): Promise<void> {
    const known = this.#vm(vm);
    this.#world.moveVm(vm, known.isThere ? 'away' : 'back');
    known.isThere = !known.isThere;
    // Or it is found out by the next backup.
    if (this.#draw(3) > 0) await this.discover();
  }

  async discover(): Promise<void> {
    await this.#world.discover();
    this.seen();
  }

  /** The service has looked at the host. */
  seen(): void {
    this.#model.seen();
  }

  #vm(name: string): ModelVm {
    return this.#model.vms.get(name)!;
  }

  /** Often one that is or was somewhere already, at times zeros. */
  #token(): number {
    return this.#draw(4) === 0 ? this.#draw(3) : this.#draw(100_000);
  }

  #tokens(count: number): number[] {
    return Array.from({ length: count }, () => this.#token());
  }
}
