#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The README's curl lines work as printed: default address and port, an image in a registry on this host.
# In a network namespace of its own, where both ports are free.
if [ -z "${IN_NETNS:-}" ] && [ "$(id -u)" = 0 ]; then
	IN_NETNS=1 exec unshare -n -- bash "$0" "$@"
fi
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
ip link set lo up || exit
leaks_begin

port_free() {
	echo 5000
}
ok "a registry on port 5000" registry_start
image_make hello --cmd /hello layer d:etc f:etc/hello=world >/dev/null
ok "with an image" image_push hello quickstart/hello:1

# As the README starts it: nothing set, except that the state must not be the host's.
UNKEY_BUILDERD_STATE_DIR=$tmp/state "$build/builderd" </dev/null >"$builderd_log" 2>&1 9>&- &
builderd_pid=$!
cleanup builderd_kill
ok "builderd on its defaults" wait_for 20 curl -fsS http://127.0.0.1:8082/livez

# Every ```sh block that calls curl, one after the other in one shell: later lines use what earlier ones set.
awk '/^```sh$/ {inside = 1; text = ""; next} /^```$/ {if (inside && text ~ /curl/) printf "%s", text; inside = 0; next} inside {text = text $0 "\n"}' \
	"$top/README.md" >"$tmp/readme.sh"
calls=$(grep -c '^curl' "$tmp/readme.sh")
like "$calls" '^[5-9]$' "the README has $calls curl lines"
mkdir "$tmp/work"
run_readme() {
	cd "$tmp/work" && timeout 60 bash -e -o pipefail -x "$tmp/readme.sh" >"$tmp/readme.out" 2>"$tmp/readme.err"
}
ok "all of them succeed" run_readme || diag "$(tail -n 20 "$tmp/readme.err")"
out=$(cat "$tmp/readme.out")
like "$out" '"buildId" ?: ?"build_[0-9A-Z]{26}"' "CreateBuild answers with an id"
like "$out" 'layer 1/1 unpacked' "the log tells about the layer"
like "$out" '"state": "BUILD_STATE_COMPLETED"' "GetBuild says COMPLETED"
like "$out" 'build_[0-9A-Z]{26} BUILD_STATE_COMPLETED' "ListBuilds has it"
ok "the artifact is a file system" e2fsck -fn "$tmp/work/rootfs.ext4"
ok "what was deleted is gone" bash -c '! curl -fsS "http://127.0.0.1:8082/builder.v1.BuilderService/GetBuildArtifact/$(jq -r .buildId "$1")" \
	-H "X-Tenant-ID: acme" -o /dev/null' - "$tmp/work/build.json"
ok "builderd stops" builderd_stop
leaks_end
done_testing
