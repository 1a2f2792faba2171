#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The finishing pass: what it adds, and metadata.json.
. "$(dirname "$0")/lib/tap.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
cd "$tmp" || exit

cat >config.json <<-'JSON'
	{"created": "2023-11-14T22:13:20.5Z", "config": {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["/bin/run", "it"],
	 "Env": ["A=1", "A=2", "B=x y", "NOEQ"], "User": "nobody", "WorkingDir": "/srv/app", "ExposedPorts": {"80/tcp": {}},
	 "Volumes": {"/data": {}}, "Labels": {"one": "1"}, "StopSignal": "SIGINT"}}
	JSON
echo "not really a program" >init

finish() { # RUNTIME [CONFIG]
	echo "$1" >runtime.json
	timeout 60 "$build/t/tools/drive-unpack" finish "${2:-config.json}" runtime.json init metadata.json registry/name:tag 2>answer | cat >stream
	return "${PIPESTATUS[0]}"
}
added() { # the paths of the stream's records, with the flags
	/usr/bin/python3 - "$@" <<-'PY'
		import struct
		f = open('stream', 'rb'); r = struct.Struct('=IHHIIIIqQQQIIIIII')
		while h := f.read(r.size):
		    v = r.unpack(h); path, link = f.read(v[13]), f.read(v[14]); f.read(v[15]); f.read(v[8])
		    print(v[1], v[2], oct(v[3]), v[7], path.decode(), link.decode())
	PY
}

ok "finish" finish '{"environment": {"B": "z"}}'
is "$(added)" "1 0 0o0 0  
3 8 0o755 1700000000 usr/bin/metald-init 
6 1 0o0 1700000000 sbin/init usr/bin/metald-init
3 8 0o644 1700000000 container.cmd 
3 8 0o644 1700000000 container.env 
4 3 0o755 1700000000 srv/app 
2 0 0o0 0  " "records: init, /sbin/init if absent, the two files, the working directory if absent (it replaces nothing); the image's time"
ok "container.cmd" grep -aqF '["/bin/sh","-c","/bin/run","it"]' stream
ok "container.env" grep -aqF '{"working_dir":"/srv/app","env":{"A":"2","B":"z","PATH":"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},"exposed_ports":["80"],"user":"nobody","init_strategy":"tini"}' stream
is "$(jq -c '[.original_image, (.layers | length), .labels.one, .command, .entrypoint, .working_dir, .env.B, .exposed_ports, .user, .volumes, .init_path, .init_strategy, .stop_signal]' metadata.json)" \
	'["registry/name:tag",2,"1",["/bin/run","it"],["/bin/sh","-c"],"/srv/app","z",["80/tcp"],"nobody",["/data"],"/usr/bin/metald-init","tini","SIGINT"]' \
	"metadata.json"
cp stream once
finish '{"environment": {"B": "z"}}'
ok "the same again is the same" cmp stream once

ok "without finishing" finish '{"finishing": false}'
is "$(added)" "1 0 0o0 0  
2 0 0o0 0  " "nothing is added"
is "$(jq -r .user metadata.json)" nobody "the metadata is there all the same"

ok "the image's own init" finish '{"init_strategy": "CUSTOM"}'
is "$(added | grep -c sbin/init)" 0 "keeps its place"
is "$(jq -r .init_path metadata.json)" /sbin/init "and is the one to boot"

echo '{"config": {"Cmd": "a"}}' >bad.json
fails "a wrong configuration" finish '{}' bad.json
like "$(cat answer)" "^fail bad-config: " "is told"
done_testing
