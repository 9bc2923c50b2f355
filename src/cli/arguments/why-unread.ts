const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'what is above it is a file',
  EISDIR: 'it is a folder, no file',
  EACCES: 'this user may not read it',
};

/** Why a file that was named by an option cannot be read; the system's own text for rare reasons. */
export function whyUnread(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return ('code' in error ? REASONS[String(error.code)] : undefined) ?? error.message;
}
