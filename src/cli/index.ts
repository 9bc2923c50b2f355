/**
 * The command line: arguments in, text or one JSON document out. The plumbing commands (`holdfast repo`)
 * work on repositories directly, without a server. Owns exit codes, prompts, progress and tables;
 * what the commands do is in the room `backup`.
 */
export { runCli } from './program.ts';
export {
  Interruption,
  type RunningService,
  type ServeOptions,
  type ServiceEnvironment,
  type Surroundings,
} from './surroundings.ts';
