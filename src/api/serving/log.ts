/** The service's log: a JSON line an event, on a stream. What is called a secret is not written, whoever passes it. */
import { pino } from 'pino';
import type { Clock } from '#base';
import type { ServiceLog } from '#service';

const SECRETS = [
  'authorization',
  'access_token',
  'clientSecret',
  'client_secret',
  'key',
  'password',
  'recoveryKey',
  'secret',
  'token',
];

export function makeLog(
  clock: Clock,
  stream: { readonly write: (text: string) => unknown },
): ServiceLog {
  const paths = SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
  const log = pino(
    {
      base: null,
      timestamp: () => `,"time":"${new Date(clock.nowMs()).toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
      redact: { paths, censor: '[secret]' },
    },
    { write: (line: string) => void stream.write(line) },
  );
  return {
    info: (facts, message) => log.info(facts, message),
    warn: (facts, message) => log.warn(facts, message),
    error: (facts, message) => log.error(facts, message),
  };
}
