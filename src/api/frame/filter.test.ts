import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFilter } from './filter.ts';

const KEYS = ['backupManagementType', 'startTime', 'friendlyName'];

test('terms are read in any order, keys in any case, quotes doubled', () => {
  const filter = parseFilter(
    "  FriendlyName eq 'it''s' AND backupmanagementtype  eq  'AzureIaasVM' ",
    KEYS,
  );
  assert.equal(filter.get('friendlyName'), "it's");
  assert.equal(filter.get('backupManagementType'), 'AzureIaasVM');
  assert.equal(filter.get('startTime'), undefined);
  assert.equal(parseFilter(undefined, KEYS).get('startTime'), undefined);
  assert.equal(parseFilter("friendlyName eq ''", KEYS).get('friendlyName'), '');
});

test('dates are read as az and as the SDKs write them, in UTC', () => {
  const dates: readonly (readonly [string, string])[] = [
    ['2026-01-31 08:30:00 PM', '2026-01-31T20:30:00.000Z'],
    ['2026-01-31 12:00:00 AM', '2026-01-31T00:00:00.000Z'],
    ['2026-01-31 12:05:09 pm', '2026-01-31T12:05:09.000Z'],
    ['2026-1-3 8:30:00 AM', '2026-01-03T08:30:00.000Z'],
    ['2026-01-31T08:30:00Z', '2026-01-31T08:30:00.000Z'],
    ['2026-01-31T08:30:00+02:00', '2026-01-31T06:30:00.000Z'],
    ['2026-01-31', '2026-01-31T00:00:00.000Z'],
  ];
  for (const [text, expected] of dates) {
    const atMs = parseFilter(`startTime eq '${text}'`, KEYS).date('startTime')!;
    assert.equal(new Date(atMs).toISOString(), expected, text);
  }
  for (const wrong of ['2026-02-30 08:30:00 PM', '2026-01-31 13:00:00 PM', 'yesterday', '2026']) {
    const filter = parseFilter(`startTime eq '${wrong}'`, KEYS);
    assert.throws(() => filter.date('startTime'), /is not a date such as/);
  }
});

test('what cannot be read, is not known or is there twice is refused, never left out', () => {
  const wrong = [
    "status eq 'x'",
    "friendlyName ne 'x'",
    "friendlyName eq 'x' or friendlyName eq 'y'",
    "friendlyName eq 'x' and friendlyName eq 'y'",
    "friendlyName eq 'x' and",
    "friendlyName eq 'x",
    'and',
    "friendlyName eq 'x'friendlyName eq 'y'",
  ];
  for (const text of wrong) {
    assert.throws(() => parseFilter(text, KEYS), { name: 'Refusal', code: 'InvalidFilter' }, text);
  }
});
