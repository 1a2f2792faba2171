# SPDX-License-Identifier: GPL-2.0-or-later
# A builderd, a registry and small images for the end-to-end tests. Source t/lib/tap.sh first.
#
#   builderd_start [KEY=VALUE...]   starts $build/builderd on a free loopback port with the state directory $state (fresh at the
#                                   first start, kept after that); KEY without its prefix. Sets $url, $builderd_pid; log: $builderd_log.
#   builderd_stop                   SIGTERM; its exit code, 124 if it had to be killed
#   builderd_kill                   SIGKILL and wait
#   builder ARG...                  builderctl against it
#   api METHOD JSON                 a call as the tenant "test"; prints the answer
#   build_create REF [JSON [JSON]]  starts a build (microvmRootfs, more members of dockerImage); sets $build_id
#   build_wait                      until it has ended; the job is in $tmp/build.json
#   build_run ARG...                both; 0 when the build is COMPLETED
#   build_get JQ                    a value of the job, build_error: its error message
#   build_layers                    "layers cached" of the last completed build, as builderd logged it
#   registry_start [htpasswd]       docker-registry on a free loopback port; sets $registry (host:port); user "tester", password "secret"
#   image_make TAG WORD...          t/lib/mkimage.py into the layout $images; prints the manifest's digest
#   image_push TAG NAME             from $images into $registry as NAME
#   rootfs_mount FILE [DIR]         mounts a rootfs read-only at DIR ($tmp/mnt), rootfs_umount [DIR]

state=$tmp/state
images=$tmp/images/layout # named oci:layout:TAG in requests
builderd_log=$tmp/builderd.log
builderd_pid=
registry_pid=

port_free() {
	/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

builderd_port() { # from the log of this start; PORT=0: an API that was started again has another one
	tail -c "+$((builderd_log_start + 1))" "$builderd_log" | sed -n 's/.*builderd: ready .*port=\([0-9][0-9]*\).*/\1/p' | tail -n 1
}

builderd_up() {
	kill -0 "$builderd_pid" 2>/dev/null || return 0 # dead: no use to wait
	[ -n "$(builderd_port)" ]
}

builderd_start() {
	local pair env=()
	for pair in ADDRESS=127.0.0.1 PORT=0 STATE_DIR="$state" LOCAL_IMAGES_DIR="$tmp/images" TENANT_DEFAULT_TIER=dedicated "$@"; do
		env+=("UNKEY_BUILDERD_$pair")
	done
	mkdir -p "$state" "$tmp/images"
	touch "$builderd_log"
	builderd_log_start=$(stat -c %s "$builderd_log")
	env -i PATH="$PATH" ${ASAN_OPTIONS:+"ASAN_OPTIONS=$ASAN_OPTIONS"} "${env[@]}" \
		"$build/builderd" </dev/null >>"$builderd_log" 2>&1 9>&- &
	builderd_pid=$!
	cleanup builderd_kill
	wait_for 20 builderd_up
	if ! kill -0 "$builderd_pid" 2>/dev/null || [ -z "$(builderd_port)" ]; then
		diag "builderd did not start:"
		tap_show "$builderd_log"
		return 1
	fi
	url=http://127.0.0.1:$(builderd_port)
}

builderd_gone() {
	! kill -0 "$builderd_pid" 2>/dev/null
}

builderd_stop() {
	local rc=0
	[ -n "$builderd_pid" ] || return 0
	kill -TERM "$builderd_pid" 2>/dev/null
	if ! wait_for 30 builderd_gone; then
		builderd_kill
		return 124
	fi
	wait "$builderd_pid" || rc=$?
	builderd_pid=
	return "$rc"
}

builderd_kill() {
	[ -n "$builderd_pid" ] || return 0
	kill -KILL "$builderd_pid" 2>/dev/null
	wait "$builderd_pid" 2>/dev/null
	builderd_pid=
}

# Lines that builderd logged since its last start.
builderd_lines() { # REGEX
	tail -c "+$((builderd_log_start + 1))" "$builderd_log" | grep -E -- "$1"
}

builder() {
	timeout 120 "$build/builderctl" --url "$url" "$@"
}

api() { # METHOD JSON
	curl -sS --max-time 100 -H 'Content-Type: application/json' -H 'X-Tenant-ID: test' -d "$2" \
		"$url/builder.v1.BuilderService/$1"
}

build_create() { # REF [MICROVM-JSON [DOCKER-JSON [STRATEGY-JSON]]]
	local body
	body=$(jq -cn --arg ref "$1" --argjson target "${2:-"{}"}" --argjson image "${3:-"{}"}" --argjson strategy "${4:-null}" \
		'{config: ({source: {dockerImage: ({imageUri: $ref} + $image)}, target: {microvmRootfs: $target}}
			+ if $strategy then {strategy: $strategy} else {} end)}')
	api CreateBuild "$body" >"$tmp/create.json"
	build_id=$(jq -r '.buildId // empty' "$tmp/create.json")
	[ -n "$build_id" ] || { cat "$tmp/create.json"; return 1; }
}

build_ended() {
	api GetBuild "{\"buildId\":\"$build_id\"}" >"$tmp/answer.json"
	jq -e '.build.state | IN("BUILD_STATE_COMPLETED", "BUILD_STATE_FAILED", "BUILD_STATE_CANCELLED")' "$tmp/answer.json" >/dev/null &&
		jq .build "$tmp/answer.json" >"$tmp/build.json"
}

build_wait() { # [SECONDS]
	rm -f "$tmp/build.json"
	wait_for "${1:-100}" build_ended
}

build_get() { # JQ
	jq -r "$1 // empty" "$tmp/build.json"
}

build_error() {
	jq -r '.errorMessage // .message // empty' "$tmp/build.json"
}

build_run() {
	if ! build_create "$@"; then
		cp "$tmp/create.json" "$tmp/build.json" # a refusal is an answer too
		return 1
	fi
	build_wait && [ "$(build_get .state)" = BUILD_STATE_COMPLETED ] && return 0
	build_get '.state, .errorMessage'
	return 1
}

build_layers() {
	builderd_lines "build completed .*build=$build_id" | sed -n 's/.*layers=\([0-9]*\) cached=\([0-9]*\).*/\1 \2/p'
}

registry_answers() {
	local code
	code=$(curl -s -o /dev/null -w '%{http_code}' "http://$registry/v2/")
	[ "$code" = 200 ] || [ "$code" = 401 ]
}

registry_start() { # [htpasswd]
	local auth='' port
	port=$(port_free)
	if [ "${1:-}" = htpasswd ]; then
		htpasswd -Bbn tester secret >"$tmp/htpasswd"
		auth="auth: {htpasswd: {realm: test, path: $tmp/htpasswd}}"
	fi
	mkdir -p "$tmp/registry-$port"
	cat >"$tmp/registry-$port.yml" <<-E
		version: 0.1
		log: {level: error, accesslog: {disabled: true}}
		storage: {filesystem: {rootdirectory: $tmp/registry-$port}, delete: {enabled: true}}
		http: {addr: "127.0.0.1:$port"}
		$auth
	E
	docker-registry serve "$tmp/registry-$port.yml" </dev/null >"$tmp/registry-$port.log" 2>&1 9>&- &
	registry_pid=$!
	cleanup "kill $registry_pid; wait $registry_pid"
	registry=127.0.0.1:$port
	wait_for 20 registry_answers
}

image_make() {
	mkdir -p "$tmp/images"
	"$top/t/lib/mkimage.py" "$images" "$@"
}

image_push() { # TAG NAME
	timeout 60 skopeo copy -q --dest-tls-verify=false ${REGISTRY_CREDS:+--dest-creds "$REGISTRY_CREDS"} \
		"oci:$images:$1" "docker://$registry/$2"
}

rootfs_mount() { # FILE [DIR]
	mkdir -p "${2:-$tmp/mnt}"
	mount -o ro,loop,noload "$1" "${2:-$tmp/mnt}" || return 1
	cleanup "umount '${2:-$tmp/mnt}'"
}

rootfs_umount() {
	umount "${1:-$tmp/mnt}"
}
