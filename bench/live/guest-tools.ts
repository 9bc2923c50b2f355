/**
 * The disk of the guest that is measured, and what runs in it: perl of this machine with its libraries and two
 * scripts, since the tiny guest has none that can write scattered or keep time.
 */
import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { makeImage } from '../measuring/workplace.ts';

const PERL = '/data/tools/ld-linux-x86-64.so.2 --library-path /data/tools /data/tools/perl';
const NOISE_BYTES = 4 << 20;

/** Distinct pages of 4 KiB among the guest's files, the same for the same seed, written anew in ascending order. */
const CHURN = `
my ($seed, $count) = @ARGV;
my (@files, @ends);
my $total = 0;
sub walk {
  my ($folder) = @_;
  opendir(my $handle, $folder) or return;
  my @names = sort grep { !/^\\.\\.?$/ } readdir $handle;
  closedir $handle;
  for my $name (@names) {
    my $path = "$folder/$name";
    next if -l $path;
    if (-d _) { walk($path); next }
    next unless -f _ && -s _ >= 65536;
    $total += int((-s _) / 4096);
    push @files, $path;
    push @ends, $total;
  }
}
walk('/data/usr');
open(my $noise, '<', '/data/tools/noise') or die;
sysread($noise, my $bytes, ${NOISE_BYTES}) == ${NOISE_BYTES} or die;
my $x = $seed;
sub bits { $x = ($x * 1103515245 + 12345) & 0x7fffffff; return $x >> 8 }
sub draw { my $high = bits(); return (($high << 23) | bits()) % $_[0] }
die "only $total pages" if $total < 2 * $count;
my %page;
$page{draw($total)} = 1 while keys(%page) < $count;
my ($at, $open, $handle) = (0, -1, undef);
for my $page (sort { $a <=> $b } keys %page) {
  $at++ while $ends[$at] <= $page;
  if ($open != $at) { open($handle, '+<', $files[$at]) or die $files[$at]; $open = $at }
  my $first = $at == 0 ? 0 : $ends[$at - 1];
  sysseek($handle, ($page - $first) * 4096, 0);
  syswrite($handle, substr($bytes, draw(${NOISE_BYTES} - 4096), 4096)) == 4096 or die;
}
syscall(162);
`;

/** Writes 512 bytes to a file with fdatasync again and again; says when each was durable, on a file system in memory. */
const METER = `
open(my $file, '>', '/data/meter') or die;
open(my $log, '>', '/run/meter.log') or die;
open(my $pid, '>', '/run/meter.pid') or die;
print $pid $$; close $pid;
my $time = ' ' x 16;
for (my $n = 0; ; $n++) {
  sysseek($file, ($n % 2048) * 512, 0);
  syswrite($file, sprintf('%-511d', $n) . "\\n") == 512 or die;
  syscall(75, fileno $file);
  syscall(228, 1, $time);
  my ($s, $ns) = unpack('qq', $time);
  syswrite($log, sprintf("%.4f\\n", $s + $ns / 1e9));
}
`;

/** A qcow2 of real files, with the tools on it. */
export function makeGuestDisk(
  folder: string,
  size: { readonly gib: number; readonly dataMib: number },
): string {
  const raw = join(folder, 'guest.raw');
  const tools = join(folder, 'tools');
  makeImage(raw, size.gib, size.dataMib);
  mkdirSync(tools, { recursive: true });
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16));
  writeFileSync(join(tools, 'noise'), cipher.update(Buffer.alloc(NOISE_BYTES)));
  writeFileSync(join(tools, 'churn.pl'), CHURN);
  writeFileSync(join(tools, 'meter.pl'), METER);
  for (const path of perlAndLibraries())
    writeFileSync(join(tools, basename(path)), readFileSync(path));
  debugfs(raw, 'mkdir tools');
  for (const name of execFileSync('ls', [tools], { encoding: 'utf8' }).trim().split('\n')) {
    debugfs(raw, `write ${join(tools, name)} tools/${name}`);
    debugfs(raw, `set_inode_field tools/${name} mode 0100755`);
  }
  const image = join(folder, 'guest.qcow2');
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, image]);
  rmSync(raw);
  rmSync(tools, { recursive: true });
  return image;
}

/** For a shell in the guest. */
export function churnScript(seed: number, bytes: number): string {
  return `${PERL} /data/tools/churn.pl ${seed} ${bytes / 4096} && echo 1 >/proc/sys/vm/drop_caches`;
}

export const START_METER = `rm -f /run/meter.log; (${PERL} /data/tools/meter.pl) >/run/meter.err 2>&1 </dev/null &`;
export const STOP_METER = 'kill $(cat /run/meter.pid); rm -f /data/meter; sync';

/** Of the writes between two times of the guest's clock: how many, and the longest time without one, in ms. */
export function readMeter(from: string, to: string): string {
  const program =
    '$1 >= from && $1 <= to { count++; if (last && $1 - last > gap) gap = $1 - last } { last = $1 } END { print count + 0, gap * 1000 }';
  return `awk -v from=${from} -v to=${to} '${program}' /run/meter.log`;
}

export const GUEST_CLOCK = "cut -d' ' -f1 /proc/uptime";

function perlAndLibraries(): string[] {
  const perl = '/usr/bin/perl';
  const said = execFileSync('ldd', [perl], { encoding: 'utf8' });
  const libraries = Array.from(said.matchAll(/(\/\S+) \(0x/g), ([, path]) => path!);
  return [perl, ...libraries];
}

function debugfs(image: string, request: string): void {
  execFileSync('debugfs', ['-w', '-R', request, image], {
    stdio: ['ignore', 'ignore', 'ignore'],
  });
}
