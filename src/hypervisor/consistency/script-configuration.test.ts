/** Azure's script configuration, field by field (R48). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseScriptConfiguration } from './script-configuration.ts';

function parsed(fields: unknown) {
  return parseScriptConfiguration(JSON.stringify(fields));
}

test('what is absent has the default of Azure', () => {
  assert.deepEqual(parsed({}), {
    kind: 'read',
    configuration: {
      pre: undefined,
      post: undefined,
      timeoutMs: 30_000,
      continueBackupOnFailure: true,
      fsFreezeEnabled: true,
      pollMs: 1000,
    },
  });
});

test('every field is read', () => {
  const read = parsed({
    pluginName: 'ScriptRunner',
    preScriptLocation: '/a',
    postScriptLocation: '/b',
    preScriptParams: ['x', 'y z'],
    postScriptParams: [],
    preScriptNoOfRetries: 2,
    postScriptNoOfRetries: 0,
    timeoutInSeconds: 1800,
    continueBackupOnFailure: false,
    fsFreezeEnabled: false,
    ScriptsExecutionPollTimeSeconds: 5,
  });
  assert.ok(read.kind === 'read');
  assert.deepEqual(read.configuration, {
    pre: { location: '/a', params: ['x', 'y z'], retryCount: 2 },
    post: { location: '/b', params: [], retryCount: 0 },
    timeoutMs: 1_800_000,
    continueBackupOnFailure: false,
    fsFreezeEnabled: false,
    pollMs: 5000,
  });
});

test('what Azure does not take is incorrect, with the field named', () => {
  for (const [fields, message] of [
    [{ timeoutInSeconds: 1801 }, /timeoutInSeconds/],
    [{ timeoutInSeconds: '30' }, /timeoutInSeconds/],
    [{ ScriptsExecutionPollTimeSeconds: 6 }, /ScriptsExecutionPollTimeSeconds/],
    [{ preScriptNoOfRetries: -1 }, /preScriptNoOfRetries/],
    [{ preScriptLocation: 'pre.sh' }, /preScriptLocation/],
    [{ postScriptParams: 'x' }, /postScriptParams/],
    [{ continueBackupOnFailure: 'no' }, /continueBackupOnFailure/],
    [[], /no JSON object/],
  ] as const) {
    const read = parsed(fields);
    assert.ok(read.kind === 'incorrect');
    assert.equal(read.fault.code, 'IncorrectJSONConfigFile');
    assert.match(read.fault.message, message);
  }
  assert.equal(parseScriptConfiguration('{').kind, 'incorrect');
});
