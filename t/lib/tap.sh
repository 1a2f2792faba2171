# SPDX-License-Identifier: GPL-2.0-or-later
# TAP for the behaviour tests. Source it first:  . "$(dirname "$0")/lib/tap.sh"
#
# Gives: $top (source tree), $build (build tree with the programs), $tmp (a private directory, removed at exit), and
#   ok DESC CMD...      passes when CMD exits with 0; its output is shown only if it does not
#   fails DESC CMD...   passes when CMD refuses: exit code 1..123, so neither a crash nor a time-out
#   is GOT WANT DESC    equal strings
#   like TEXT REGEX DESC, unlike TEXT REGEX DESC   (bash regular expressions)
#   diag TEXT           a comment line
#   skip REASON         ends the script: nothing more of it can run here
#   cleanup CMD         runs at exit, last registered first; once each
#   wait_for SECONDS CMD...   until CMD succeeds, polled 20 times a second; 1 if it never did
#   leaks_begin, leaks_end [DESC]   loops, device-mapper devices, mounts and builderd processes of this script: none may stay
#   done_testing        prints the plan; exit code 1 if anything failed
# Result lines go to the script's stdout, whatever CMD does to its own.

set -u
export LC_ALL=C
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -n "${BUILDERD_BUILD:-}" ]; then
	build=$(cd "$BUILDERD_BUILD" && pwd)
elif [ -e "$PWD/config.status" ]; then
	build=$PWD
else
	build=$top
fi
# Not below /tmp: the guest of t/vm mounts an empty one there. 0711: the programs' own uids reach what is theirs.
tmp=$(mktemp -d "${TMPDIR:-/var/tmp}/builderd-test.XXXXXX") || exit 99
chmod 0711 "$tmp"

exec 9>&1
tap_count=0
tap_failed=0
tap_planned=
tap_cleanups=()

tap_result() { # RC DESC
	tap_count=$((tap_count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $tap_count - $2" >&9
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_count - $2" >&9
		echo "#   at ${0##*/}:${BASH_LINENO[1]:-?}" >&9
	fi
	return "$1"
}

diag() {
	printf '%s\n' "$*" | sed 's/^/# /' >&9
}

tap_show() { # FILE: the end of what a failed command said
	[ ! -s "$1" ] || tail -n 30 "$1" | tr -cd '\11\12\40-\176' | cut -c 1-400 | sed 's/^/#   | /' >&9
}

ok() {
	local desc=$1 rc=0
	shift
	"$@" >"$tmp/.out" 2>&1 || rc=$?
	if ! tap_result "$rc" "$desc"; then
		diag "  exit code $rc of: $*"
		tap_show "$tmp/.out"
		return 1
	fi
}

fails() {
	local desc=$1 rc=0
	shift
	"$@" >"$tmp/.out" 2>&1 || rc=$?
	if ! tap_result "$((rc < 1 || rc > 123))" "$desc"; then
		diag "  wanted a refusal, exit code $rc of: $*"
		tap_show "$tmp/.out"
		return 1
	fi
}

is() {
	if [ "$1" = "$2" ]; then
		tap_result 0 "$3"
	else
		tap_result 1 "$3"
		diag "  got:  ${1:0:2000}"
		diag "  want: ${2:0:2000}"
		return 1
	fi
}

like() {
	if [[ $1 =~ $2 ]]; then
		tap_result 0 "$3"
	else
		tap_result 1 "$3"
		diag "  got:  ${1:0:2000}"
		diag "  want a match of: $2"
		return 1
	fi
}

unlike() {
	if [[ $1 =~ $2 ]]; then
		tap_result 1 "$3"
		diag "  got:  ${1:0:2000}"
		diag "  want no match of: $2"
		return 1
	else
		tap_result 0 "$3"
	fi
}

skip() {
	if [ "$tap_count" = 0 ]; then
		echo "1..0 # SKIP $1" >&9
	else
		tap_count=$((tap_count + 1))
		echo "ok $tap_count # SKIP $1" >&9
		echo "1..$tap_count" >&9
	fi
	tap_planned=1
	exit $((tap_failed > 0))
}

cleanup() {
	tap_cleanups+=("$*")
}

tap_exit() {
	local rc=$? i
	[ "$BASHPID" = $$ ] || exit "$rc" # a subshell that a signal met before it had reset its traps
	trap - EXIT
	for ((i = ${#tap_cleanups[@]} - 1; i >= 0; i--)); do
		eval "${tap_cleanups[i]}" >/dev/null 2>&1
	done
	if [ -z "$tap_planned" ]; then
		echo "Bail out! the script ended before done_testing (exit code $rc)" >&9
		[ "$rc" != 0 ] || rc=1
	fi
	rm -rf --one-file-system "$tmp"
	exit "$rc"
}
trap tap_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

done_testing() {
	tap_planned=1
	echo "1..$tap_count" >&9
	exit $((tap_failed > 0))
}

wait_for() {
	local end=$((SECONDS + $1 + 1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

# What this script could leave behind. Other tests may run beside it, so each kind is told apart by $tmp: loops by their backing
# file, mounts by path or source, processes by their environment (builderd hands STATE_DIR to its children).
# Device-mapper devices are compared with the list at leaks_begin.
leaks_list() {
	local f pid
	for f in /sys/block/loop*/loop/backing_file; do
		[ -r "$f" ] && grep -F -- "$tmp/" "$f" | sed "s|^|loop ${f:11} |"
	done
	ls -d /sys/block/dm-* 2>/dev/null | sed 's|^|dm |'
	grep -F -- "$tmp/" /proc/self/mountinfo | sed 's/^/mount /'
	for f in /proc/[0-9]*/environ; do
		pid=${f//[!0-9]/}
		if grep -qsx 'builderd.*\|builder-volume' "/proc/$pid/comm" && grep -qsaF -- "$tmp/" "$f"; then
			echo "process $pid $(cat "/proc/$pid/comm" 2>/dev/null)"
		fi
	done
	return 0
}

leaks_begin() {
	tap_leaks=$(leaks_list)
}

leaks_none() {
	[ "$(leaks_list)" = "$tap_leaks" ]
}

leaks_end() {
	wait_for 5 leaks_none # autoclear and reaping are not instant
	is "$(leaks_list)" "$tap_leaks" "${1:-no loop, device, mount or process is left}"
}
