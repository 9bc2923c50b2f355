/** `qmp:/path/qmp.sock[,agent=/path/qga.sock]`: how a VM of QEMU is named on the command line. */
import { isAbsolute } from 'node:path';
import { HoldfastError } from '#base';

export type QemuAddress = {
  readonly qmpPath: string;
  /** Of the guest agent's socket. */
  readonly agentPath?: string;
};

/** @throws {HoldfastError} `ArgumentInvalid`. */
export function parseQemuUri(uri: string): QemuAddress {
  const [, qmpPath = '', agentPath] = /^qmp:([^,]+)(?:,agent=([^,]+))?$/.exec(uri) ?? [];
  if (isAbsolute(qmpPath) && (agentPath === undefined || isAbsolute(agentPath))) {
    return { qmpPath, ...(agentPath === undefined ? {} : { agentPath }) };
  }
  throw new HoldfastError(
    'ArgumentInvalid',
    `"${uri}" is not the address of a QEMU: use qmp:/path/qmp.sock[,agent=/path/qga.sock], absolute paths`,
  );
}
