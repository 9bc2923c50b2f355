/** The way to a guest agent: a unix socket, or libvirt's command. One command at a time, in order. */

export type AgentChannel = {
  /**
   * Runs one command of QEMU's guest agent.
   *
   * @param command for example `guest-ping`.
   * @returns its `return`.
   * @throws {HoldfastError} `AgentUnavailable` (retryable) if no answer comes within `timeoutMs` or the channel
   *   is gone; `AgentFailed` with the agent's class and text in `details`.
   */
  execute(
    command: string,
    options: { readonly arguments?: Readonly<Record<string, unknown>>; readonly timeoutMs: number },
  ): Promise<unknown>;
  /** Idempotent. */
  close(): Promise<void>;
};
