/** What a complaint of `virsh` means; its text is libvirt's own, in English (`LC_ALL=C`). */
import { HoldfastError, type ErrorCode } from '#base';

type Rule = { readonly code: ErrorCode; readonly pattern: RegExp };

/** The first that fits decides. */
const RULES: readonly Rule[] = [
  {
    code: 'AgentUnavailable',
    pattern:
      /Guest agent is not responding|QEMU guest agent is not (connected|configured|available)|agent (is )?unresponsive|guest agent (didn't|did not) respond|Guest agent disappeared/i,
  },
  { code: 'AgentFailed', pattern: /unable to execute QEMU agent command/ },
  {
    code: 'VmNotFound',
    pattern: /failed to get domain|Domain not found|no domain with matching/,
  },
  {
    code: 'VmBusy',
    pattern:
      /cannot acquire state change lock|another (backup )?job is already running|already in active block job|has active block job|block copy still active|is being migrated|domain has active job|domain is being (auto)?destroyed/i,
  },
  {
    // QEMU has gone, and not the daemon.
    code: 'HypervisorFailed',
    pattern:
      /Unable to (read from|write to) monitor|closed the monitor|End of file from qemu monitor/i,
  },
  {
    code: 'HypervisorUnavailable',
    pattern:
      /failed to connect to the hypervisor|Failed to connect socket|client socket is closed|End of file while reading data|Cannot recv data|cannot connect to|connection closed|no connection driver available|authentication (failed|unavailable)|system bus connection|Connection reset/i,
  },
];

/** Among what is said where no connection came about: there is a daemon, and it is not for us. */
const REFUSED =
  /Permission denied|authentication (failed|unavailable)|access denied|polkit|system bus connection/i;

/** What to do about it, where libvirt's words do not say. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /Permission denied|apparmor/i,
    'QEMU may not use that path: check the folders above it, and AppArmor or SELinux',
  ],
];

export function virshError(
  complaint: string,
  context: { readonly uri: string; readonly command: string },
): HoldfastError {
  const text = plain(complaint);
  const code = RULES.find(({ pattern }) => pattern.test(complaint))?.code ?? 'HypervisorFailed';
  if (code === 'HypervisorUnavailable') return unreachable(text, context);
  const hint = HINTS.find(([pattern]) => pattern.test(text))?.[1];
  const message = `libvirt at ${context.uri}: ${text || `"${context.command}" failed`}`;
  return new HoldfastError(code, hint === undefined ? message : `${message} (${hint})`, {
    details: { command: context.command, complaint: text },
  });
}

/** What is wrong with the daemon or with us, what to do, and libvirt's words. */
function unreachable(
  text: string,
  { uri, command }: { readonly uri: string; readonly command: string },
): HoldfastError {
  const [, socket] = /Failed to connect socket to '([^']*)'/.exec(text) ?? [];
  const at = socket === undefined ? uri : `${uri} (socket ${socket})`;
  return new HoldfastError('HypervisorUnavailable', `${meaning(text, at)}; libvirt says: ${text}`, {
    details: { command, complaint: text, ...(socket === undefined ? {} : { socket }) },
  });
}

function meaning(text: string, at: string): string {
  if (REFUSED.test(text)) {
    return `this user may not use libvirt at ${at}: add it to the group "libvirt" and log in again, run Holdfast as root, or --connect qemu:///session for VMs of its own`;
  }
  return `libvirt does not answer at ${at}: start its daemon, libvirtd or virtqemud (systemctl start libvirtd)`;
}

/** `error: a\nerror: b` on one line. */
function plain(complaint: string): string {
  const lines = complaint.split('\n').map((line) => line.replace(/^error:\s*/, '').trim());
  return lines.filter((line) => line !== '').join('; ');
}
