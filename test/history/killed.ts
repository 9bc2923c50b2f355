/** Changes that are killed amid their writes: the next start finishes what a document says, and nothing else. */
import assert from 'node:assert/strict';
import { policyToWire } from '../../src/api/policies/policy-to-wire.ts';
import { pick } from './policies.ts';
import { WANTED } from './requests.ts';
import type { Answer } from './client.ts';
import { User } from './user.ts';

const ACTIONS = ['stop', 'suspend', 'undelete', 'delete', 'switch', 'edit', 'edit'] as const;

export class Killed extends User {
  /** @returns whether it was killed; else it was done, or refused. */
  async change(vm: string): Promise<boolean> {
    const action = pick(this.draw, ACTIONS);
    this.course.tell(action);
    if (action === 'edit') return await this.#edit();
    if (action === 'switch') return await this.#switch(vm);
    const { world, model } = this.course;
    const ask = async (): Promise<Answer> =>
      action === 'delete'
        ? await world.call('DELETE', world.itemPath(vm))
        : await this.requests.put(vm, WANTED[action]);
    const answer = await this.#dying(2, ask);
    if (answer.status === 204) return false;
    return this.#isKilled(answer, () => model[action](vm));
  }

  async #switch(vm: string): Promise<boolean> {
    const policy = this.requests.somePolicy();
    this.course.tell(policy);
    const properties = { policyId: this.requests.policyPath(policy) };
    const answer = await this.#dying(2, async () => await this.requests.put(vm, properties));
    return this.#isKilled(answer, () => this.course.model.protect(vm, policy, undefined));
  }

  /** Items are remembered before the policy. */
  async #edit(): Promise<boolean> {
    const { world, model } = this.course;
    const { name, body } = this.requests.wantedPolicy();
    const { protectedItemsCount: _, ...properties } = policyToWire(body, 0);
    const path = this.requests.policyPath(name);
    const answer = await this.#dying(5, async () => await world.call('PUT', path, { properties }));
    const remembered = [...world.remembered];
    if (answer.status < 300 || remembered.some(([id]) => id.startsWith('policy-'))) {
      model.putPolicy(name, body);
    } else {
      for (const [, { vmName }] of remembered) model.noteLost(vmName, body);
    }
    if (answer.status < 500) this.requests.agree(undefined, answer);
    return answer.status >= 500;
  }

  /** @param writes so many are let through at most, less one. */
  async #dying(writes: number, ask: () => Promise<Answer>): Promise<Answer> {
    const { world } = this.course;
    const steps = this.draw(writes);
    this.course.tell(`after ${steps}`);
    world.dieAfter(steps);
    const answer = await ask();
    world.dieNoMore();
    return answer;
  }

  #isKilled(answer: Answer, done: () => string | undefined): boolean {
    if (answer.status < 500) {
      this.requests.agree(done(), answer);
      return false;
    }
    if (this.course.world.remembered.size > 0) assert.equal(done(), undefined);
    return true;
  }
}
