# SPDX-License-Identifier: GPL-2.0-or-later
# builder-volume, for the tests of it. Source t/lib/tap.sh and t/lib/builderd.sh first; export UNKEY_BUILDERD_STATE_DIR, ...
#
#   volume ARG...           runs it with a bound on its time; its exit code
#   volume_json JQ ARG...   the same with --json; prints what JQ makes of the answer, which must be one JSON object
#   exits CODE DESC ARG...  it ends with that exit code; what it said is in $tmp/said
#   aligned FILE            prints the lines of the table in FILE whose cells do not stand under their titles
#   socket_attack SOCKET    what a hostile program would send; prints "connections answers"

volume() {
	timeout 200 "$build/builder-volume" "$@"
}

volume_json() {
	local filter=$1 rc=0
	shift
	volume --json "$@" >"$tmp/json" || rc=$?
	[ "$rc" = 0 ] || [ "$rc" = 6 ] || return
	jq -e 'type == "object"' "$tmp/json" >/dev/null && jq -rc "$filter" "$tmp/json"
}

exits() {
	local want=$1 desc=$2 rc=0
	shift 2
	volume "$@" >"$tmp/said" 2>&1 || rc=$?
	is "$rc" "$want" "$desc" || tap_show "$tmp/said"
}

# A title's first or last column is its cells', with blanks or nothing around it; no line ends with a blank.
aligned() {
	/usr/bin/python3 - "$1" <<-'E'
		import re, sys
		lines = open(sys.argv[1], encoding="utf-8").read().split("\n")[:-1]
		titles = [(m.start(), m.end()) for m in re.finditer(r"\S+(?: \S+)*", lines[0])]
		for line in lines[1:]:
		    cells = [(m.start(), m.end()) for m in re.finditer(r"\S+(?: \S+)*", line)]
		    ok = len(cells) == len(titles) and all(a == c or b == d for (a, b), (c, d) in zip(titles, cells))
		    if not ok or line != line.rstrip():
		        print(line)
	E
}

socket_attack() {
	timeout 100 /usr/bin/python3 - "$1" <<-'E'
		import os, random, socket, struct, sys
		path, answers, connections = sys.argv[1], 0, 0
		random.seed(1)
		def conn():
		    global connections
		    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		    s.settimeout(20)
		    s.connect(path)
		    connections += 1
		    return s
		def end(s):
		    global answers
		    try:
		        answers += len(s.recv(65536)) > 0
		    except OSError:
		        pass
		    s.close()
		for packet in (b"", b"x", b"\0" * 8, b"\xff" * 16, struct.pack("II", 36, 1 << 31), os.urandom(16384), os.urandom(60000)):
		    s = conn()
		    try:
		        s.send(packet)
		    except OSError:
		        pass
		    end(s)
		for kind in range(60):      # every type, with the size of none and of some
		    for size in (0, 352, 504, 512):
		        s = conn()
		        s.send(struct.pack("II", kind, size) + bytes(random.randrange(256) for _ in range(size)))
		        end(s)
		s = conn()                  # descriptors nobody asked for
		try:
		    socket.send_fds(s, [b"\0" * 8], [0] * 20)
		except OSError:
		    pass
		end(s)
		idle = [conn() for _ in range(40)]   # more than there may be, and they say nothing
		for s in idle[20:]:
		    end(s)
		for s in idle:
		    s.close()
		print(connections, answers)
	E
}
