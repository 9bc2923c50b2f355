/** Tags of resources: names and values that only their owner understands. */
import { z } from 'zod';
import { HoldfastError } from '#base';

export type Tags = Readonly<Record<string, string>>;

const MOST_TAGS = 50;
const LONGEST_NAME = 512;
const LONGEST_VALUE = 256;
const TAGS = z.record(z.string(), z.string());

/** @throws {HoldfastError} `InvalidTags` for more or longer ones than Azure takes. */
export function tagsToJson(tags: Tags): string {
  const pairs = Object.entries(tags);
  const long = pairs.find(
    ([name, value]) => name.length > LONGEST_NAME || value.length > LONGEST_VALUE,
  );
  if (pairs.length <= MOST_TAGS && long === undefined) return JSON.stringify(tags);
  throw new HoldfastError(
    'InvalidTags',
    `At most ${MOST_TAGS} tags, with names of ${LONGEST_NAME} and values of ${LONGEST_VALUE} characters.`,
  );
}

export function parseTags(json: string): Tags {
  return TAGS.parse(JSON.parse(json));
}
