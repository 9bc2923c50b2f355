/** What users do with consistency groups: made, changed, backed up, deleted. */
import assert from 'node:assert/strict';
import { DAY_MS } from './calendar.ts';
import { iso } from './checks.ts';
import { VMS } from './machines.ts';
import { pick } from './policies.ts';
import { User } from './user.ts';

/** No two can have a member in common. */
const NAMES = ['g1', 'g1', 'g1', 'g2'];

export class Groups extends User {
  async change(): Promise<void> {
    const name = pick(this.draw, NAMES);
    if (this.draw(5) === 0) await this.#delete(name);
    else await this.#put(name);
  }

  async #put(name: string): Promise<void> {
    const { model, world } = this.course;
    const first = this.draw(VMS.length);
    const vms = [...VMS.slice(first), ...VMS.slice(0, first)].slice(0, 1 + this.draw(5));
    const policy = this.draw(3) === 0 ? undefined : this.requests.somePolicy();
    this.course.tell(`${name}: ${vms.join()} ${policy ?? 'on demand'}`);
    const properties = {
      virtualMachineIds: vms.map((vm) => world.vmId(vm)),
      ...(policy === undefined ? {} : { policyId: this.requests.policyPath(policy) }),
    };
    const answer = await world.call('PUT', world.groupPath(name), { properties });
    this.requests.agree(model.groups.put(name, vms, policy), answer);
  }

  async #delete(name: string): Promise<void> {
    this.course.tell(`${name}: deleted`);
    const { model, world } = this.course;
    const { status } = await world.call('DELETE', world.groupPath(name));
    model.groups.list();
    assert.equal(status, model.groups.all.delete(name) ? 200 : 204);
  }

  async backUp(): Promise<void> {
    const { model, world } = this.course;
    const name = pick(this.draw, NAMES);
    this.course.tell(name);
    const asked = model.now + (1 + this.draw(60)) * DAY_MS;
    const properties = { recoveryPointExpiryTimeInUTC: iso(asked) };
    const answer = await world.call('POST', `${world.groupPath(name)}/backup`, { properties });
    model.groups.list();
    const refusal = model.groups.backUp(name);
    this.requests.agree(refusal, answer);
    if (refusal !== undefined) return;
    await world.quiet();
    this.course.sync();
    await this.course.learnGroup(model.groups.all.get(name)!, { asked });
    await this.course.order();
  }
}
