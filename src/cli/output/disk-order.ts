/** A note where the order of a VM's disks looks like an accident: the first one is taken for the system disk. */

/** Words in names of disks that systems are on. */
const SYSTEM_WORDS: ReadonlySet<string> = new Set(
  'os osdisk system sys root rootfs boot disk0 vda sda hda xvda'.split(' '),
);

/**
 * @param disks names, in their order.
 * @returns a sentence; undefined: nothing is strange.
 */
export function orderNote(vm: string, disks: readonly string[]): string | undefined {
  const [first, ...others] = disks;
  const sounds = (name: string): boolean =>
    name.toLowerCase() === vm.toLowerCase() ||
    name
      .toLowerCase()
      .split(/[-_. ]+/)
      .some((word) => SYSTEM_WORDS.has(word));
  if (first === undefined || sounds(first)) return undefined;
  const rather = others.find(sounds);
  if (rather === undefined) return undefined;
  return `${first} comes first and is taken for the system disk, though ${rather} sounds like it: "disks" in vm.json says the order.`;
}
