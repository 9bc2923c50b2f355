/** One random history: each step does something, lets a minute pass, and compares everything. */
import { DAY_MS } from './calendar.ts';
import { iso } from './checks.ts';
import { Course, HOUR_MS } from './course.ts';
import { Groups } from './groups.ts';
import { Killed } from './killed.ts';
import { Machines, VMS } from './machines.ts';
import { pick, type Draw } from './policies.ts';
import { Requests } from './requests.ts';
import { Restores } from './restores.ts';
import { MINUTE_MS, type World } from './world.ts';

/** Of so many steps each action is one so often. */
const WEIGHTS = {
  write: 12,
  disks: 2,
  backUp: 6,
  nextRun: 8,
  hours: 4,
  days: 5,
  months: 1,
  leap: 2,
  protect: 8,
  edit: 8,
  stop: 3,
  suspend: 4,
  delete: 3,
  undelete: 3,
  hold: 14,
  expire: 2,
  softDelete: 2,
  gone: 3,
  discover: 1,
  restore: 2,
  replace: 2,
  restart: 1,
  lost: 1,
  killed: 4,
  group: 5,
  groupBackUp: 3,
} as const;
type Action = keyof typeof WEIGHTS;
const WEIGHTED = Object.entries(WEIGHTS).flatMap(([name, weight]) =>
  Array.from({ length: weight }, () => name as Action),
);

const LEAPS = [-90 * MINUTE_MS, -3 * HOUR_MS, HOUR_MS, 5 * HOUR_MS, 40 * DAY_MS];

export class History {
  /** How often each action was one. */
  readonly counts: Record<string, number> = {};
  readonly #course: Course;
  readonly #machines: Machines;
  readonly #requests: Requests;
  readonly #killed: Killed;
  readonly #groups: Groups;
  readonly #restores: Restores;
  readonly #draw: Draw;

  constructor(world: World, draw: Draw) {
    this.#course = new Course(world, draw);
    this.#machines = new Machines(this.#course, draw);
    this.#requests = new Requests(this.#course, draw);
    this.#groups = new Groups(this.#course, this.#requests, draw);
    this.#restores = new Restores(this.#course, this.#requests, draw);
    this.#killed = new Killed(this.#course, this.#requests, draw);
    this.#draw = draw;
  }

  /** What was done so far. */
  get story(): readonly string[] {
    return this.#course.story;
  }

  async begin(): Promise<void> {
    await this.#machines.begin();
    await this.#requests.begin();
  }

  async step(): Promise<void> {
    const vm = pick(this.#draw, VMS);
    const name = pick(this.#draw, WEIGHTED);
    this.counts[name] = (this.counts[name] ?? 0) + 1;
    this.#course.tell(`${iso(this.#course.model.now)} ${name} ${vm}`);
    await this.#actions[name](vm);
    await this.#course.settle();
    await this.#course.compare();
  }

  readonly #actions: Readonly<Record<Action, (vm: string) => Promise<void>>> = {
    write: async (vm) => this.#machines.write(vm),
    disks: async (vm) => await this.#machines.changeDisks(vm),
    gone: async (vm) => await this.#machines.move(vm),
    discover: async () => await this.#machines.discover(),
    backUp: async (vm) => await this.#requests.backUp(vm),
    protect: async (vm) => await this.#requests.protect(vm),
    edit: async () => await this.#requests.editPolicy(),
    stop: async (vm) => await this.#requests.stop(vm),
    suspend: async (vm) => await this.#requests.suspend(vm),
    delete: async (vm) => await this.#requests.delete(vm),
    undelete: async (vm) => await this.#requests.undelete(vm),
    hold: async (vm) => await this.#requests.hold(vm),
    expire: async () => void (await this.#requests.expire()),
    softDelete: async () => await this.#requests.softDelete(),
    restore: async (vm) => await this.#restores.disks(vm),
    replace: async (vm) => await this.#restores.replace(vm),
    hours: async () => await this.#course.hop((1 + this.#draw(30)) * HOUR_MS),
    days: async () => await this.#course.hop((1 + this.#draw(20)) * DAY_MS),
    months: async () => await this.#course.hop((20 + this.#draw(400)) * DAY_MS),
    nextRun: async () => {
      const { now } = this.#course.model;
      const runs = (await this.#course.world.nextRuns()).filter((at) => at > now);
      if (runs.length > 0) await this.#course.hop(Math.min(...runs) - now);
    },
    leap: async () => {
      const ms = pick(this.#draw, LEAPS);
      this.#course.tell(`by ${ms / HOUR_MS} h`);
      this.#course.world.clock.jump(ms);
      this.#course.model.leap(ms);
    },
    group: async () => await this.#groups.change(),
    groupBackUp: async () => await this.#groups.backUp(),
    restart: async () => await this.#restart(),
    lost: async () => await this.#lose(),
    killed: async (vm) => {
      if (await this.#killed.change(vm)) await this.#restart();
    },
  };

  async #restart(): Promise<void> {
    await this.#course.world.restart();
    this.#course.sync();
    // A start looks at the hosts, and at what is due.
    this.#machines.seen();
    await this.#course.follow();
  }

  /** The catalogue is made again from the repository; until its host is added again no VM is known. */
  async #lose(): Promise<void> {
    const { world, model, charges } = this.#course;
    await world.loseCatalogue();
    this.#course.sync();
    charges.forget();
    model.forget();
    const there = [...model.vms.values()].filter(({ isThere }) => isThere);
    for (const vm of there) vm.isThere = false;
    this.#machines.seen();
    await this.#course.follow();
    for (const vm of there) vm.isThere = true;
    await world.addPlaces();
    this.#machines.seen();
  }
}
