/** What a job's row holds as JSON. */
import { z } from 'zod';

const DETAIL = z.strictObject({ message: z.string(), code: z.string().optional() });

const TASK = z.strictObject({
  name: z.string(),
  status: z.enum(['NotStarted', 'InProgress', 'Completed', 'Failed', 'Skipped', 'Cancelled']),
  startedAt: z.number().optional(),
  endedAt: z.number().optional(),
  details: z.array(DETAIL).optional(),
});

const PROGRESS = z.strictObject({
  phase: z.string(),
  doneBytes: z.number(),
  totalBytes: z.number().optional(),
  /** Over the last seconds. */
  bytesPerSecond: z.number().optional(),
  at: z.number(),
});

const FAILURE = DETAIL.extend({ code: z.string() });

/** `name` is Azure's: "Take Snapshot"; details are lines for people. */
export type JobTask = Readonly<z.infer<typeof TASK>>;
export type JobProgress = Readonly<z.infer<typeof PROGRESS>>;
export type JobFailure = Readonly<z.infer<typeof FAILURE>>;
export type JobWarning = Readonly<z.infer<typeof DETAIL>>;

const parse =
  <T>(shape: z.ZodType<T>) =>
  (json: string): T =>
    shape.parse(JSON.parse(json));

export const tasksFromJson: (json: string) => readonly JobTask[] = parse(z.array(TASK));
export const progressFromJson: (json: string) => JobProgress = parse(PROGRESS);
export const failureFromJson: (json: string) => JobFailure = parse(FAILURE);
export const warningsFromJson: (json: string) => readonly JobWarning[] = parse(z.array(DETAIL));
export const propertiesFromJson: (json: string) => Readonly<Record<string, string>> = parse(
  z.record(z.string(), z.string()),
);
export const claimsFromJson: (json: string) => readonly string[] = parse(z.array(z.string()));
