/** What the service says of a policy, in the words of who typed it: options instead of the API's fields. */
import { ServiceRefusal } from './refusal.ts';

type Asked = { readonly weekly?: string | undefined; readonly file?: string | undefined };

/** `schedule.intervalHours is 5` begins a fault; a field may be in a list. */
const FAULT = /(?<=: |; )([a-zA-Z]+(?:\.[a-zA-Z]+|\[\d+\])*) is /g;
const VALUE = /\{"count":(\d+),"unit":"(\w+)"\}/g;

const OPTIONS: readonly (readonly [RegExp, string])[] = [
  [/^timeZone$/, '--time-zone'],
  [/^instantRestoreDays$/, '--instant-days'],
  [/^schedule\.weekdays/, '--weekly'],
  [/^schedule\.(intervalHours|frequency)$/, '--hourly'],
  [/^schedule\.windowStart$/, '--from'],
  [/^schedule\.windowHours$/, '--for'],
  [/^retention\.(\w+)\.(days|weekdays|months)\b/, '--keep-$1-on'],
  [/^retention\.(\w+)(\.duration(\.\w+)?)?$/, '--keep-$1'],
];

/** Asks with a policy made of options; of one in a file the fields are what was typed. */
export async function inOptions<Result>(
  { file, weekly }: Asked,
  ask: () => Promise<Result>,
): Promise<Result> {
  try {
    return await ask();
  } catch (error) {
    if (file !== undefined || !(error instanceof ServiceRefusal)) throw error;
    const message = error.message
      .replaceAll(FAULT, (_all, field: string) => `${optionOf(field, weekly)} is `)
      .replaceAll(VALUE, '$1 $2');
    throw new ServiceRefusal(error.status, { code: error.code, message });
  }
}

function optionOf(field: string, weekly: string | undefined): string {
  if (field.startsWith('schedule.runTimes')) return weekly === undefined ? '--daily' : '--at';
  for (const [pattern, option] of OPTIONS) {
    const found = pattern.exec(field);
    if (found !== null) return option.replace('$1', found[1] ?? '');
  }
  return field;
}
