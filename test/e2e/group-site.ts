/** A repository and VMs that are backed up into it as a group, by the commands of a user. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { json, succeed } from '../cli/holdfast.ts';
import { numberOn } from './lockstep.ts';

export type GroupTaken = {
  readonly group: { readonly id: string; readonly points: readonly GroupPoint[] };
  readonly members: readonly {
    readonly vm: string;
    readonly item: string;
    readonly pointId: string;
    readonly consistency: string;
    readonly disks: readonly { readonly tracking: string; readonly reason?: string }[];
  }[];
};

type GroupPoint = { readonly item: string; readonly point: string };

type Listed = { readonly id: string; readonly item: string; readonly group?: GroupTaken['group'] };

export class GroupSite {
  readonly folder: string;
  readonly repository: string;
  /** By name, how they are reached. */
  readonly vms: ReadonlyMap<string, string>;
  /** Of points that were looked into. */
  readonly #numbers = new Map<string, number>();

  constructor(folder: string, vms: ReadonlyMap<string, string>) {
    this.folder = folder;
    this.repository = join(folder, 'repository');
    this.vms = vms;
  }

  async init(): Promise<void> {
    await succeed(['repo', 'init', this.repository, '--no-encryption']);
  }

  command(...more: readonly string[]): readonly string[] {
    const connect = [...new Set(this.vms.values())].flatMap((uri) => ['--connect', uri]);
    const to = ['--repo', this.repository, '--no-encryption', '--json'];
    return ['vm', 'backup', ...this.vms.keys(), '--group', ...connect, ...to, ...more];
  }

  async backUp(...more: readonly string[]): Promise<GroupTaken> {
    const { stdout } = await succeed(this.command(...more));
    return JSON.parse(stdout) as GroupTaken;
  }

  async points(): Promise<readonly Listed[]> {
    const args = ['repo', 'points', this.repository, '--no-encryption'];
    return (await json<{ readonly points: readonly Listed[] }>(args)).points;
  }

  /** What disk `disk` of a point says. */
  async number(point: string, disk: string): Promise<number> {
    const known = this.#numbers.get(point);
    if (known !== undefined) return known;
    const path = join(this.folder, `${point}.raw`);
    const to = ['--disk', `${disk}=${path}`, '--no-encryption'];
    await succeed(['repo', 'restore', this.repository, point, ...to]);
    const number = await numberOn(path);
    await rm(path);
    this.#numbers.set(point, number);
    return number;
  }

  /** Each group of points is whole, names itself in each, and is of one instant: b ≤ a ≤ b + 1. @returns how many. */
  async checkGroups(disks: readonly [string, string]): Promise<number> {
    const points = await this.points();
    const groups = Map.groupBy(points, ({ group }) => group?.id);
    for (const [id, members] of groups) {
      assert.ok(id !== undefined);
      const { group } = members[0]!;
      assert.deepEqual(
        members.map(({ item, id: point }) => ({ item, point })).toSorted(byItem),
        group!.points.toSorted(byItem),
      );
      for (const member of members) assert.deepEqual(member.group, group);
      const [first, second] = group!.points;
      const a = await this.number(first!.point, disks[0]);
      const b = await this.number(second!.point, disks[1]);
      assert.ok(b <= a && a <= b + 1, `${a} in the first, ${b} in the second`);
    }
    return groups.size;
  }
}

function byItem(a: GroupPoint, b: GroupPoint): number {
  return a.item < b.item ? -1 : 1;
}
