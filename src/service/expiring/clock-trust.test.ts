import assert from 'node:assert/strict';
import { test } from 'node:test';
import { trustAt, trusted, type ClockTrust, type Instant } from './clock-trust.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** A machine whose wall and uptime a test moves. */
class Machine {
  #now: Instant = { wallMs: Date.UTC(2026, 0, 1), upMs: 0, bootId: 'a' };
  trust: ClockTrust = trusted(this.#now);

  /** That time passes; by hours, as the service looks again and again, and the clock leaps at each look. */
  pass(ms: number, { leapMs = 0 } = {}): this {
    for (let left = ms; left > 0; left -= HOUR) this.#look(Math.min(left, HOUR), leapMs);
    return this;
  }

  leap(ms: number): this {
    return this.#look(0, ms);
  }

  /** Nobody looks meanwhile. */
  down(ms: number, { leapMs = 0, isRestarted = false } = {}): this {
    const { bootId } = this.#now;
    if (isRestarted) this.#now = { ...this.#now, bootId: `${bootId}a`, upMs: -ms };
    return this.#look(ms, leapMs);
  }

  #look(passedMs: number, leapMs: number): this {
    const { wallMs, upMs, bootId } = this.#now;
    this.#now = { wallMs: wallMs + passedMs + leapMs, upMs: upMs + passedMs, bootId };
    this.trust = trustAt(this.trust, this.#now);
    return this;
  }

  get rests(): boolean {
    return this.trust.rest !== undefined;
  }
}

test('a clock that goes right is trusted for ever, across restarts of service and machine, and days that it was off', () => {
  const machine = new Machine().pass(400 * DAY).down(30 * DAY);
  assert.ok(!machine.rests);
  for (let night = 0; night < 100; night += 1) {
    machine.pass(12 * HOUR).down(12 * HOUR, { isRestarted: true });
    assert.ok(!machine.rests);
  }
  machine.pass(DAY).down(2.9 * DAY, { isRestarted: true });
  assert.ok(!machine.rests);
});

test('after a leap it rests for a day, then the clock is right; another leap begins another day', () => {
  const machine = new Machine().leap(365 * DAY).pass(23 * HOUR);
  assert.ok(machine.rests);
  assert.ok(machine.leap(7 * HOUR).pass(23 * HOUR).rests);
  assert.ok(!machine.pass(2 * HOUR).rests);
  assert.ok(!machine.pass(30 * DAY).rests);
  assert.ok(machine.leap(DAY).rests);
});

test('small leaps add up', () => {
  const machine = new Machine().pass(6 * HOUR, { leapMs: HOUR });
  assert.ok(!machine.rests);
  assert.ok(machine.pass(HOUR, { leapMs: HOUR }).rests);
  // As long as it goes on like that.
  assert.ok(machine.pass(30 * DAY, { leapMs: HOUR }).rests);
  assert.ok(!machine.pass(25 * HOUR).rests);
});

test('put right it is trusted at once, also by and by; put right by a part only it is not', () => {
  assert.ok(!new Machine().leap(365 * DAY).leap(-365 * DAY).rests);
  const machine = new Machine()
    .leap(365 * DAY)
    .pass(HOUR)
    .leap(-300 * DAY);
  assert.ok(machine.rests);
  assert.ok(!machine.leap(-65 * DAY).rests);
  assert.ok(machine.leap(DAY).rests);
});

test('a clock that is set back is trusted; what it was ahead before is forgotten', () => {
  const machine = new Machine().leap(-30 * DAY);
  assert.ok(!machine.rests);
  assert.ok(machine.leap(30 * DAY).rests);
});

test('a leap while the service is down is seen by the uptime, however small the pause', () => {
  assert.ok(new Machine().down(HOUR, { leapMs: 7 * HOUR }).rests);
  assert.ok(!new Machine().down(HOUR, { leapMs: 5 * HOUR }).rests);
  const creeping = new Machine();
  for (let day = 0; day < 3; day += 1) creeping.down(HOUR, { leapMs: 3 * HOUR });
  assert.ok(creeping.rests);
});

test('after a start of the machine, more than three days by the clock are doubted for a day', () => {
  for (const off of [{ leapMs: 365 * DAY }, { leapMs: 0, ms: 4 * DAY }]) {
    const machine = new Machine().down(off.ms ?? HOUR, { leapMs: off.leapMs, isRestarted: true });
    assert.ok(machine.rests);
    assert.equal(machine.trust.rest!.wasOff, true);
    assert.ok(!machine.pass(25 * HOUR).rests);
  }
});

test('a rest goes on across starts of the machine, and ends when the clock was put right meanwhile', () => {
  const rest = () => new Machine().leap(365 * DAY).pass(HOUR);
  const machine = rest().down(10 * HOUR, { isRestarted: true });
  assert.ok(machine.rests);
  assert.ok(!machine.pass(14 * HOUR).rests);
  assert.ok(!rest().down(10 * HOUR, { leapMs: -365 * DAY, isRestarted: true }).rests);
  assert.ok(
    rest()
      .down(10 * HOUR, { leapMs: 365 * DAY, isRestarted: true })
      .pass(23 * HOUR).rests,
  );
});
