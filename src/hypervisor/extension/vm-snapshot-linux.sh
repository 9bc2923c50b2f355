#!/bin/sh
# VMSnapshotLinux, the backup extension of Holdfast: POSIX sh (busybox, dash, bash), no other file needed.
#
#   vm-snapshot.sh prepare          writes what is dirty, and checks that there is a way to thaw
#   vm-snapshot.sh watch SECONDS    starts the watchdog: it thaws every file system after SECONDS unless cancelled
#   vm-snapshot.sh cancel           ends the watchdog; prints "cancelled", "fired" or "none"
#   vm-snapshot.sh script FILE ARG… runs a pre- or post-script, prints the end of what it wrote
#
# While file systems are frozen nothing here writes to one: it would hang until the thaw that it is to do. So no
# here-documents either, which some shells keep in files. The last line is main: by then all has been read.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
HERE=${0%/*}
SELF=$HERE/vm-snapshot.sh
NEWLINE='
'
# Seconds between two thaws after the first, and for how long: a freeze may still be under way at the first.
AGAIN=5
LAST=600

# Out of reach of what ends the agent: its control group (systemd ends all processes of a service whose main one
# died), the memory killer. Its session was left by setsid.
detach() {
  for group in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -w "$group/cgroup.procs" ] && echo $$ 2>/dev/null >"$group/cgroup.procs"
  done
  [ -w "/proc/$$/oom_score_adj" ] && echo -1000 2>/dev/null >"/proc/$$/oom_score_adj"
  trap '' HUP INT PIPE
}

kernel_log() { echo "<4>holdfast: $1" 2>/dev/null >/dev/kmsg; }

# By the kernel itself: every frozen file system, with no program and no disk needed.
emergency_thaw() {
  [ -w /proc/sysrq-trigger ] && echo j >/proc/sysrq-trigger && kernel_log 'emergency thaw asked for'
}

thaw_all() {
  failed=0
  # A thaw can hang where something else waits for that file system with its lock held.
  { sleep 10 && emergency_thaw; } &
  guard=$!
  IFS=$NEWLINE
  # shellcheck disable=SC2086 # one word a line
  set -- $MOUNTS
  IFS=' '
  for mount; do
    answer=$(LC_ALL=C $FSFREEZE -u "$mount" 2>&1) && { thawed=$((thawed + 1)); continue; }
    case $answer in
      *'Invalid argument'* | *'not supported'* | *'nappropriate ioctl'* | *'No such file'*) ;;
      *) failed=1 ;;
    esac
  done
  kill "$guard" 2>/dev/null
  [ "$failed" = 0 ] || emergency_thaw
}

# The file systems that the agent freezes: those of block devices. /proc/mounts writes blanks as \040.
block_mounts() {
  sed -n 's/%/%%/g; s|^/dev/[^ ]* \([^ ]*\) .*|\1|p' /proc/mounts | while read -r point; do
    # shellcheck disable=SC2059 # undoes the escapes
    printf "$point\n"
  done
}

watchdog() {
  umask 077
  detach
  sleep "$1" &
  timer=$!
  trap 'kill "$timer" 2>/dev/null; exit 0' TERM
  echo $$ >"$HERE/watchdog.pid"
  echo ready >"$HERE/watchdog.ready"
  wait "$timer"
  thawed=0
  thaw_all
  kernel_log "the backup did not thaw in $1 s: the watchdog thawed $thawed file systems"
  # In a process of its own: somebody may have frozen again, and then this write hangs.
  echo "$thawed" >"$HERE/watchdog.fired" &
  spent=0
  while [ "$spent" -lt "$LAST" ]; do
    sleep "$AGAIN" &
    timer=$!
    wait "$timer"
    spent=$((spent + AGAIN))
    thaw_all
  done
}

# Pids are used again: only a process that runs this very file is the watchdog.
is_watchdog() {
  [ -r "/proc/$1/cmdline" ] && tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF "$SELF watchdog"
}

pause() { sleep 0.02 2>/dev/null || sleep 1; }

cancel() {
  state=none
  if [ -f "$HERE/watchdog.pid" ]; then
    read -r pid <"$HERE/watchdog.pid"
    tries=0
    while is_watchdog "$pid" && [ "$tries" -lt 500 ]; do
      state=cancelled
      [ "$tries" -lt 250 ] && kill -TERM "$pid" || kill -KILL "$pid"
      tries=$((tries + 1))
      pause
    done
  fi
  [ -f "$HERE/watchdog.fired" ] && state=fired
  rm -f "$HERE/watchdog.pid" "$HERE/watchdog.ready" "$HERE/watchdog.fired" "$HERE/script.out"
}

find_fsfreeze() {
  if command -v fsfreeze >/dev/null 2>&1; then
    FSFREEZE=fsfreeze
  elif command -v busybox >/dev/null 2>&1 && busybox fsfreeze --help >/dev/null 2>&1; then
    FSFREEZE='busybox fsfreeze'
  elif [ -w /proc/sysrq-trigger ]; then
    FSFREEZE=false
  else
    echo 'no way to thaw in the guest: neither fsfreeze nor /proc/sysrq-trigger' >&2
    exit 3
  fi
}

# What is dirty is written while everybody may still write: the freeze is shorter then.
bounded_sync() {
  sync &
  tries=0
  while kill -0 $! 2>/dev/null && [ "$tries" -lt 1500 ]; do
    tries=$((tries + 1))
    pause
  done
}

prepare() {
  find_fsfreeze
  # Into memory, for the time when reading may be slow.
  $FSFREEZE --help >/dev/null 2>&1
  bounded_sync
}

watch() {
  umask 077
  cancel
  leave=
  command -v setsid >/dev/null 2>&1 && leave=setsid
  $leave /bin/sh "$SELF" watchdog "$1" </dev/null >/dev/null 2>&1 &
  tries=0
  until [ -f "$HERE/watchdog.ready" ]; do
    tries=$((tries + 1))
    [ "$tries" -le 500 ] || { echo 'the watchdog did not start' >&2; exit 4; }
    pause
  done
}

# Into a file, not a pipe: a program that the script leaves running would hold the pipe open. In memory, where /run
# is: on a disk that program would keep a removed file open, and the snapshot's file system had to be repaired.
script() {
  out=$(mktemp /run/holdfast-script.XXXXXX 2>/dev/null) || out=$HERE/script.out
  exec 3>"$out" 4<"$out"
  [ "$out" = "$HERE/script.out" ] || rm -f "$out"
  "$@" </dev/null >&3 2>&1 3>&- 4<&-
  code=$?
  tail -c 2000 <&4
  rm -f "$out"
  exit "$code"
}

main() {
  command=${1:-}
  [ $# -gt 0 ] && shift
  case $command in
    prepare) prepare ;;
    watch) watch "$1" ;;
    watchdog)
      find_fsfreeze
      MOUNTS=$(block_mounts)
      watchdog "$1"
      ;;
    cancel)
      cancel
      echo "$state"
      ;;
    script) script "$@" ;;
    *)
      echo 'usage: vm-snapshot.sh prepare | watch SECONDS | cancel | script FILE [ARG...]' >&2
      exit 2
      ;;
  esac
  exit 0
}

main "$@"
