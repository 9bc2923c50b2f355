/**
 * VMSnapshot, for Windows guests: a command file that reads and sets how the agent's VSS provider backs up. It has
 * no watchdog of its own: VSS ends a freeze by itself after 60 s, 10 s for its writers.
 *
 * Azure's `USEVSSCOPYBACKUP` (R46) is obeyed through the agent's registry value `VssOption` (QEMU guest agent 8.0
 * and newer): 5 is VSS_BT_COPY. It is set for the freeze only.
 */
import { HoldfastError } from '#base';
import type { GuestAgent } from '../agent/guest-agent.ts';
import type { ExtensionKind } from './extension-kind.ts';

const VERSION = '1.0.0';
const SCRIPT_NAME = 'vm-snapshot.cmd';
const STEP_MS = 30_000;

const SCRIPT = [
  '@echo off',
  'rem VMSnapshot, the backup extension of Holdfast.',
  "rem   vm-snapshot.cmd mode      prints what Azure's USEVSSCOPYBACKUP says",
  'rem   vm-snapshot.cmd copy      VSS copy backups by the guest agent, until "full"',
  'rem   vm-snapshot.cmd full      VSS full backups, its default',
  'rem   vm-snapshot.cmd writers   the state of the VSS writers',
  'set PROVIDER="HKLM\\SYSTEM\\CurrentControlSet\\Services\\QEMU Guest Agent VSS Provider"',
  'if "%1"=="mode" (',
  '  reg query "HKLM\\SOFTWARE\\Microsoft\\BcdrAgent" /v USEVSSCOPYBACKUP',
  '  exit /b 0',
  ')',
  'if "%1"=="copy" (',
  '  reg add %PROVIDER% /v VssOption /t REG_DWORD /d 5 /f',
  '  exit /b',
  ')',
  'if "%1"=="full" (',
  '  reg delete %PROVIDER% /v VssOption /f',
  '  exit /b',
  ')',
  'if "%1"=="writers" (',
  '  vssadmin list writers',
  '  exit /b',
  ')',
  'exit /b 2',
  '',
].join('\r\n');

export const WINDOWS_EXTENSION: ExtensionKind = {
  name: 'VMSnapshot',
  version: VERSION,
  folders: ['C:\\ProgramData\\Holdfast\\VMSnapshot', 'C:\\Windows\\Temp\\Holdfast\\VMSnapshot'],
  scriptName: SCRIPT_NAME,
  purpose: 'reads and sets full or copy VSS backups, and lists the VSS writers',
  transient: [],
  script: () => Buffer.from(SCRIPT),
  pathOf: (folder, name) => `${folder}\\${name}`,

  // Administrators and SYSTEM only, by their ids: their names are translated.
  makeFolder: (agent, folder) =>
    command(
      agent,
      `(if not exist ${folder} mkdir ${folder}) && icacls ${folder} /inheritance:r ` +
        '/grant *S-1-5-32-544:(OI)(CI)F /grant *S-1-5-18:(OI)(CI)F',
    ),

  putInPlace: (agent, folder) =>
    command(
      agent,
      `cd /d ${folder} && move /y ${SCRIPT_NAME}.new ${SCRIPT_NAME} && move /y state.json.new state.json`,
    ),

  // The folder's list of rights is set with every installation; what others did to it is not second-guessed.
  openTo: async () => undefined,

  remove: (agent, folder) => {
    const parent = folder.slice(0, folder.lastIndexOf('\\'));
    return command(agent, `rmdir /s /q ${folder} && (rmdir ${parent} 2>nul & exit /b 0)`);
  },
};

/** The line has no quotes: the agent's escapes for them are not those of cmd.exe. */
async function command(agent: GuestAgent, line: string): Promise<void> {
  const exit = await agent.exec({ path: 'cmd.exe', args: ['/c', line], timeoutMs: STEP_MS });
  if (exit.exitCode === 0) return;
  const text = exit.stderr.toString('utf8').trim() || `exit ${exit.exitCode ?? 'by a signal'}`;
  throw new HoldfastError('AgentFailed', `backup extension: ${text}`, {
    details: { class: 'ExtensionNotInstalled', text },
  });
}
