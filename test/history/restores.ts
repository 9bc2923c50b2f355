/** What users restore: disks as images in a storage account, or in place of a VM's. */
import { assertSame } from './checks.ts';
import { pick } from './policies.ts';
import type { ModelPoint } from './rules.ts';
import { User } from './user.ts';

export class Restores extends User {
  /** Its disks, as images in a storage account. */
  async disks(vm: string): Promise<void> {
    const point = this.#somePoint(vm);
    if (point === undefined) return;
    const answer = await this.#restore(vm, point, 'RestoreDisks');
    this.requests.agree(undefined, answer);
    await this.course.world.quiet();
    this.course.sync();
    assertSame(this.course.world.takeRestored(), point.content);
  }

  /** R68: the VM's disks are those of the point; what it had is a point itself. */
  async replace(vm: string): Promise<void> {
    const point = this.#somePoint(vm);
    if (point === undefined) return;
    const { world, model } = this.course;
    const answer = await this.#restore(vm, point, 'OriginalLocation');
    const refusal = model.replace(vm);
    this.requests.agree(refusal, answer);
    if (refusal !== undefined) return;
    await world.quiet();
    this.course.sync();
    const known = model.vms.get(vm)!;
    // It fails before anything is done: those disks are not the VM's any more.
    if ([...point.content.keys()].some((disk) => !known.content.has(disk))) return;
    await this.course.learn(vm, { isSafety: true });
    await this.course.order();
    model.seen();
    assertSame(world.takeRestored(), point.content);
    for (const [disk, tokens] of point.content) known.content.set(disk, [...tokens]);
    // Its owner moves them to where they were.
    world.writeVm(vm, known.content);
    await world.discover();
  }

  #somePoint(vm: string): ModelPoint | undefined {
    const points = this.course.model.items.get(vm)?.points ?? [];
    if (points.length === 0) return undefined;
    const point = pick(this.draw, points);
    this.course.tell(point.id);
    return point;
  }

  async #restore(vm: string, { id }: ModelPoint, recoveryType: string) {
    const { world } = this.course;
    const properties = {
      objectType: 'IaasVMRestoreRequest',
      recoveryPointId: id,
      recoveryType,
      sourceResourceId: world.vmId(vm),
      storageAccountId: world.accountId,
      region: 'local',
    };
    const path = `${world.itemPath(vm)}/recoveryPoints/${id}/restore`;
    return await world.call('POST', path, { properties });
  }
}
