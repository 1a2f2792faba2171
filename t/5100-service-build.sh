#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The life of a build over the API: create, follow, get, list, artifact, delete.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"

service_start || exit
like "$(curl -sS -m 5 "$base/health")" '"status":"healthy".*"backend":"fake"' "health"
is "$(curl -sS -m 5 "$base/readyz")" ok "ready"

answer=$(call CreateBuild '{"config":{"source":{"dockerImage":{"imageUri":"r.example/x:1","auth":{"username":"us3r","password":"s3cret"}}},"buildName":"first","labels":{"a":"b"},"target":{"microvmRootfs":{"initStrategy":"INIT_STRATEGY_DIRECT","runtimeConfig":{"environment":{"B":"2","A":"1"}}}}}}')
id=$(field buildId <<<"$answer")
like "$id" '^build_[0-9A-HJKMNP-TV-Z]{26}$' "the id is build_ and a ULID"
like "$answer" '"build_id":"build_.*"status":"BUILD_STATUS_(QUEUED|RUNNING)".*"tenant_context":\{"tenant_id":"default","tier":"free"' "the documented members are there too"
lines=$(curl -sS -m 10 "$url/GetBuildLogs/$id?follow=1")
like "$lines" '"message":"queued".*"message":"completed"' "following the log ends with the build"
is "$(grep -c . <<<"$lines")" 9 "each line once"
unlike "$lines" $'\x1b' "no control characters of an image reach a terminal"
wait_state "$id" COMPLETED

got=$(call GetBuild "{\"buildId\":\"$id\"}")
like "$got" '"state":"BUILD_STATE_COMPLETED"' "GetBuild: state"
like "$got" '"rootfsChecksum":"sha256:[0-9a-f]{64}"' "checksum"
like "$got" '"imageMetadata":\{"originalImage":"r/x:1".*"workingDir":"/srv"' "metadata"
like "$got" '"rootfsSizeBytes":"100000".*"metrics":\{.*"rootfsSizeBytes":"100000".*"compressionRatio":.*"diskUsageBytes":"80000"' "the size of the file, and what lies in it"
like "$got" '"memoryPeakBytes":"12345678"' "metrics"
like "$got" '"buildName":"first","labels":\{"a":"b"\}' "the request, as it was"
like "$got" '"progressPercent":100,"currentStep":"completed"' "progress"
unlike "$got" 's3cret|us3r' "credentials are not answered"
like "$(cat "$out/$id.source")" '"username":"us3r","password":"s3cret"' "credentials reach the fetcher"
ok "credentials are not on disk" bash -c "! grep -rqa -e s3cret -e us3r '$state'"
is "$(cat "$out/$id.runtime")" '{"environment":{"A":"1","B":"2"},"finishing":true,"init_strategy":"DIRECT"}' "the runtime spec is canonical"
unlike "$(cat "$tmp/service.log")" 's3cret' "credentials are not logged"

curl -sS -m 10 -D "$tmp/headers" -o "$tmp/whole" "$url/GetBuildArtifact/$id"
ok "artifact: the bytes" cmp "$tmp/whole" "$out/$id.ext4"
headers=$(tr -d '\r' <"$tmp/headers")
like "$headers" "content-disposition: attachment; filename=\"$id.ext4\"" "named"
etag=$(sed -n 's/^etag: //p' <<<"$headers")
is "$etag" "\"sha256:$(sha256sum "$out/$id.ext4" | cut -d ' ' -f 1)\"" "ETag is the checksum"
is "$(curl -sS -m 10 -r 27-29 "$url/GetBuildArtifact/$id")" bcd "a range"
is "$(curl -sS -m 10 -r -2 "$url/GetBuildArtifact/$id" | wc -c)" 2 "a range from the end"
code() { curl -sS -m 10 -o /dev/null -w '%{http_code}' "$@"; }
is "$(code -r 100000- "$url/GetBuildArtifact/$id")" 416 "a range behind the end"
is "$(code -H "If-None-Match: $etag" "$url/GetBuildArtifact/$id")" 304 "known by its ETag"
is "$(code -r 0-1 -H 'If-Range: "other"' "$url/GetBuildArtifact/$id")" 200 "If-Range of another"
like "$(curl -sS -m 10 -I "$url/GetBuildArtifact/$id")" 'ontent-length: 100000' "HEAD"

# failures
bad=$(create r.example/fail:1)
ok "a failing build ends" wait_state "$bad" FAILED
like "$(call GetBuild "{\"buildId\":\"$bad\"}")" '"errorMessage":"unauthorized: the registry wants credentials".*"errorKind":"unauthorized"' "kind and sentence"
is "$(code "$url/GetBuildArtifact/$bad")" 400 "no artifact of it"
bad=$(create r.example/badmeta:1)
ok "metadata that is no JSON fails the build" wait_state "$bad" FAILED
like "$(cat "$tmp/service.log")" "delete $bad" "and its product is removed"
long=$(create r.example/chatty:1)
is "$(curl -sS -m 20 "$url/GetBuildLogs/$long?follow=1" | grep -c '"chat"')" 2000 "a long log, whole"

# delete
is "$(call DeleteBuild "{\"buildId\":\"$id\"}")" '{"success":true}' "delete"
ok "the product is gone" test ! -e "$out/$id.ext4"
like "$(call GetBuild "{\"buildId\":\"$id\"}")" '"code":"not_found"' "and so is the build"
is "$(curl -sS -m 5 "$url/GetBuildLogs/$id" | field code)" not_found "and its log"
stuck=$(create r.example/x:2)
wait_state "$stuck" COMPLETED
touch "$out/$stuck.stuck"
like "$(call DeleteBuild "{\"buildId\":\"$stuck\"}")" 'the device is in use' "a deletion that fails says why"
ok "it is CLEANING meanwhile" in_state "$stuck" CLEANING
rm "$out/$stuck.stuck"
is "$(call DeleteBuild "{\"buildId\":\"$stuck\"}")" '{"success":true}' "and can be tried again"

api=$(pgrep -P "$(pgrep -P "$service_pid")")
rss=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$api/status")
diag "resident: $rss KiB"
grep -q '^#define WITH_SANITIZE' "$build/config.h" || ok "under 16 MiB" test "$rss" -lt 16384
service_stop
is "$service_status" 0 "builderd closes the channel: the service drains and ends"
done_testing
