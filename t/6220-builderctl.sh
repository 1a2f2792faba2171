#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderctl against a server that plays builds: what it sends, what it shows, how it ends.
. "$(dirname "$0")/lib/tap.sh"

unset BUILDERD_TENANT BUILDERD_TOKEN BUILDERD_REGISTRY_PASSWORD
truncate -s 40M "$tmp/rootfs"
head -c 3000000 /dev/urandom | dd of="$tmp/rootfs" bs=1M seek=10 conv=notrunc status=none
/usr/bin/python3 "$top/t/tools/fake-api.py" "$tmp/port" "$tmp/rootfs" >"$tmp/requests" 2>"$tmp/server.err" &
cleanup "kill $!"
wait_for 10 test -s "$tmp/port" || exit
BUILDERD_URL=http://127.0.0.1:$(cat "$tmp/port")
export BUILDERD_URL
ctl() {
	rc=0
	out=$(timeout 60 "$build/builderctl" "$@" 2>"$tmp/err" </dev/null) || rc=$?
	err=$(<"$tmp/err")
}
id_of() { printf 'build_%026d' "$1"; }
last() { # METHOD JQ: of the last request
	jq -r "select(.method == \"$1\") | $2" "$tmp/requests" | tail -n 1
}

ctl build ok --tenant acme --token t0ken --idempotency-key k1 --name n -e A=1 -- /bin/x -y
is "$rc" 0 "a build"
like "$out" "^build     $(id_of 1)" "the summary names the build"
like "$out" $'\nrootfs    /srv/builds/build_[0-9]*.ext4\nsize      41.9 MB, 1.2 MB on disk\nchecksum  sha256:[0-9a-f]{64}\ntime      1.80 s \(pull 410 ms, ' \
	"and rootfs, size, checksum and times"
like "$err" 'downloading layers.*layer 1/2: unpacking' "log lines on the way, on stderr"
unlike "$out$err" $'\033' "without a terminal nothing for one"
is "$(last CreateBuild '.headers | [."X-Tenant-ID", .Authorization, ."Idempotency-Key"] | join(" ")')" "acme Bearer t0ken k1" "headers"
is "$(last CreateBuild '.request.config | [.buildName, .tenant.tenantId, .target.microvmRootfs.runtimeConfig.environment.A] | join(" ")')" \
	"n acme 1" "the request"
is "$(last CreateBuild '.request.config.target.microvmRootfs.runtimeConfig.command | join(" ")')" "/bin/x -y" "the command behind --"
ctl build ok --json
is "$(jq -r .build.state <<<"$out")" BUILD_STATE_COMPLETED "--json is the last answer"
ctl build ok -d
is "$rc $out" "0 $(id_of 3)" "--detach prints the id alone"
ctl build fail
is "$rc" 1 "a failed build is 1"
like "$err" "$(id_of 4): digest-mismatch: layer 2/2" "its sentence on stderr"
unlike "$err" $'\033' "which steers no terminal"
ctl build refuse
is "$rc $err" "1 builderctl: max_daily_builds: 5 of 5 used; there is room again at midnight, UTC" "a refusal"
ctl build away
is "$rc" 0 "a server that drops answers is asked again"
BUILDERD_REGISTRY_PASSWORD=hush ctl build ok -u me
is "$(last CreateBuild '.request.config.source.dockerImage.auth | [.registry, .username, .password] | join(" ")')" "docker.io me hush" \
	"credentials from the environment"
out=$(echo typed | timeout 20 "$build/builderctl" build -d ok -u me)
is "$(last CreateBuild .request.config.source.dockerImage.auth.password)" typed "and from stdin"

ctl status "$(id_of 1)"
like "$out" $'\nstate     COMPLETED\n' "status"
ctl logs "$(id_of 1)"
like "$out" 'warn: the \?]0;evil\? end' "logs, cleaned"
ctl logs --json "$(id_of 1)"
is "$(jq -r .component <<<"$out")" build "logs as JSON lines"
ctl ls
is "$(grep -c '^build_' <<<"$out")" "$(jq -r 'select(.method == "CreateBuild" and .request.config.source.dockerImage.imageUri != "refuse") | 1' \
	"$tmp/requests" | wc -l)" "ls goes through all pages"
ctl ls -n 3
is "$(grep -c '^build_' <<<"$out")" 3 "to a limit"
ctl ls --state failed
is "$(last ListBuilds '.request.stateFilter // [] | join(" ")')" BUILD_STATE_FAILED "ls --state"
ctl ls --state odd
is "$rc" 2 "a state that is none"
ctl rm --force "$(id_of 3)"
is "$rc $out $(last DeleteBuild .request.force)" "0 $(id_of 3) is deleted true" "rm --force"
ctl status "$(id_of 3)"
is "$rc $err" "1 builderctl: there is no build $(id_of 3)" "and gone"
ctl cancel "$(id_of 5)"
is "$rc" 0 "cancel"

ctl artifact "$(id_of 1)" -o "$tmp/copy"
is "$rc" 0 "an artifact"
ok "is the rootfs" cmp "$tmp/copy" "$tmp/rootfs"
ok "sparse" test "$(du -k "$tmp/copy" | cut -f1)" -lt 4000
ok "without a part left" test ! -e "$tmp/copy.part"
ctl build cut -d
cut=$out
wait_for 10 eval "'$build/builderctl' status $cut | grep -q COMPLETED"
ctl artifact "$cut" -o "$tmp/cut"
is "$rc" 1 "a download that breaks off"
ok "leaves what came" test -s "$tmp/cut.part" -a ! -e "$tmp/cut"
ctl artifact "$cut" -o "$tmp/cut"
is "$rc $(last artifact '.begin > 0')" "0 true" "and goes on there"
ok "to the same bytes" cmp "$tmp/cut" "$tmp/rootfs"
ctl build rotten --artifact "$tmp/rotten"
is "$rc" 1 "a wrong byte is an error"
like "$err" "wrong checksum" "that says so"
ok "and leaves nothing" test ! -e "$tmp/rotten" -a ! -e "$tmp/rotten.part"

# An interrupt, without a terminal: bash starts background jobs with SIGINT ignored, so TERM, which is taken alike.
# --foreground: timeout would signal its whole group as well, and a second signal ends the client at once.
rm -f "$tmp/err" # what is in it would end the wait below
timeout --foreground 60 "$build/builderctl" build slow >"$tmp/out" 2>"$tmp/err" &
pid=$!
wait_for 10 grep -q unpacking "$tmp/err"
kill -TERM $pid
wait $pid
like "$(cat "$tmp/err")" 'interrupted; build_[0-9]+ is cancelled' "an interrupt cancels the build"
is "$(last CancelBuild .request.buildId)" "$(head -n 1 "$tmp/err")" "that very one"

# The live line, in a terminal of 100 columns.
out=$(TERM=xterm LC_ALL=C.UTF-8 timeout 60 script -qec "stty cols 100; exec '$build/builderctl' build ok" /dev/null </dev/null)
like "$out" $'\r'"(resolving the image|downloading layers|layer ./2: unpacking) +  [█▏▎▍▌▋▊▉·]+ +[0-9]+%" "a live line on a terminal"
like "$out" $'\r\033\\[K.*build     build_' "is taken away before the summary"

ctl --url http://127.0.0.1:1 ls
is "$rc" 3 "no server is 3"
like "$err" 'cannot reach builderd at http://127.0.0.1:1: .*BUILDERD_URL' "with the address, and what would help"
for words in '' 'build' 'build a b' 'frobnicate' 'build --follow a' 'ls --limit x' 'build a --timeout 0' '--url ftp://x ls' 'build a --init odd'; do
	# shellcheck disable=SC2086 # words
	ctl $words
	is "$rc" 2 "usage: builderctl $words"
done
for command in build status logs ls artifact cancel rm; do
	ctl help $command
	like "$out" "^usage: builderctl $command " "help $command"
	like "$(cat "$top/doc/builderctl.1")" "builderctl $command" "the manual has it"
done
missing=$("$build/builderctl" help build | grep -o '^ [ ,a-z-]*--[a-z-]*' | grep -o -- '--[a-z-]*' | sed 's/-/\\-/g' |
	while IFS= read -r option; do grep -qF -- "$option" "$top/doc/builderctl.1" || echo "$option"; done)
is "$missing" "" "the manual has every option of build"
done_testing
