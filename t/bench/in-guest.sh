# SPDX-License-Identifier: GPL-2.0-or-later
# For the measurements that need a guest; source it after t/lib/tap.sh.
#   run_in_guest VM-OPTION... -- ARG...   runs this script again, with ARGs and as root, in the guest of "t/vm/run tests"
#   cpu_now                               seconds of the host's CPU that the guest has taken so far: on a busy machine they say more than
#                                         a clock does
#   blank DEVICE...                       a disk of the guest is a file of holes again
#   note NAME NUMBER, table UNIT NAME...  median, best and worst of the numbers noted under each NAME
#   median NAME, ratio NAME OTHER         of the medians

# The guest sees the host's files, but not that they change: each reading is a new file, named by fifths of a second.
cpu_sampler() { # DIRECTORY: CPU time of this script's descendants, the dead ones included
	exec python3 - "$1" $$ <<'PYTHON'
import os, sys, time
directory, root = sys.argv[1], int(sys.argv[2])
while os.path.isdir(directory):
    parents, ticks = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open("/proc/%s/stat" % pid).read().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(pid)] = int(fields[1])
        ticks[int(pid)] = sum(map(int, fields[11:15]))
    total = 0
    for pid in ticks:
        above = pid
        while above in parents and above != root:
            above = parents[above]
        total += ticks[pid] if above == root and pid not in (root, os.getpid()) else 0
    now = int(time.time() * 5)
    with open("%s/.new" % directory, "w") as f:
        f.write("%.2f\n" % (total / os.sysconf("SC_CLK_TCK")))
    os.rename("%s/.new" % directory, "%s/%d" % (directory, now))
    for old in os.listdir(directory):
        if old.isdigit() and int(old) < now - 100:
            os.unlink("%s/%s" % (directory, old))
    time.sleep(0.2 - time.time() % 0.2)
PYTHON
}

cpu_now() {
	local key
	key=$(($(date +%s%N) / 200000000 + 1))
	until [ -s "$VM_CPU_DIR/$key" ]; do
		sleep 0.05
		(($(date +%s%N) / 200000000 < key + 2)) || key=$((key + 3)) # one was left out
	done
	cat "$VM_CPU_DIR/$key"
}

run_in_guest() {
	local options=()
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	{
		printf '#!/bin/bash\nexport VM_CPU_DIR=%q\nexec %q' "$tmp/cpu" "$(realpath "$0")"
		printf ' %q' "$@"
		echo
	} >"$tmp/guest"
	chmod +x "$tmp/guest"
	mkdir "$tmp/cpu"
	cpu_sampler "$tmp/cpu" &
	cleanup "kill $!"
	TMPDIR=$tmp "$top/t/vm/run" tests --timeout 7200 --each 7100 "${options[@]}" "$tmp/guest"
}

blank() {
	local device
	sync
	for device in "$@"; do
		blkdiscard -f "$device" 2>/dev/null
	done
}

note() {
	echo "$2" >>"$tmp/$1.numbers"
}

median() {
	sort -g "$tmp/$1.numbers" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

table() {
	local unit=$1 name
	shift
	printf '  %-28s %10s %10s %10s  %s\n' '' median best worst "$unit"
	for name in "$@"; do
		sort -g "$tmp/$name.numbers" | awk -v name="$name" -v m="$(median "$name")" '{ v[NR] = $1 }
			END { printf "  %-28s %10.2f %10.2f %10.2f  of %d\n", name, m, v[1], v[NR], NR }'
	done
}

ratio() {
	awk -v a="$(median "$1")" -v b="$(median "$2")" 'BEGIN { printf "  %s / %s: %.3f\n", "'"$1"'", "'"$2"'", a / b }'
}
