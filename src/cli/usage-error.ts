/** The command was used wrongly: exit 2. What failed although the command was right is a `HoldfastError`. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
