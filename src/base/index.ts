/** What every room may use; it knows no word of the backup domain. Depends on nothing. */
export {
  ERRORS,
  HoldfastError,
  isHoldfastError,
  throwIfCancelled,
  type ErrorCode,
  type ErrorDetails,
} from './errors.ts';
export { makeFolders, whyNoFolder } from './make-folders.ts';
export { pause } from './pause.ts';
export { orCancelled } from './or-cancelled.ts';
export { FakeClock, type Clock } from './clock.ts';
export { realClock } from './real-clock.ts';
export { freeMemory } from './free-memory.ts';
export type { Progress, ProgressListener } from './progress.ts';
export { toldElsewhere } from './told-elsewhere.ts';
export { shellQuoted } from './shell-quoted.ts';
export { asWhomToRun } from './whose-folder.ts';
