#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a tenant may use: requests a minute, builds a day, storage; exact under parallel requests and across a kill.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
export UNKEY_BUILDERD_MAX_CONCURRENT_BUILDS=20 UNKEY_BUILDERD_METRICS_TENANTS=true
as() { printf 'x-tenant-id: %s' "$1"; }
headers() { tr -d '\r' <"$tmp/headers" | tr '[:upper:]' '[:lower:]' | sed -n "s/^$1: //p"; }
used() { call GetTenantQuotas "{\"tenantId\":\"$1\"}"; }

not_at_midnight
service_start || exit
wide='requests_per_minute=1000000 request_burst=10000 allowed_registries=* max_concurrent_builds=10'
for tenant in r d p s c; do
	# shellcheck disable=SC2046
	admin tenant add "$tenant" $(printf -- '--limit %s ' $wide) >/dev/null || exit
done

# requests: 3 at once, then one every half minute
admin tenant set r -n requests_per_minute=2 -n request_burst=3 >/dev/null
for i in 1 2 3; do
	is "$(curl -sS -m 10 -D "$tmp/headers" -o /dev/null -w '%{http_code}' -H "$(as r)" "$url/ListBuilds")" 200 "request $i of a burst of 3"
	is "$(headers x-ratelimit-limit) $(headers x-ratelimit-remaining)" "2 $((3 - i))" "its headers: limit, what is left"
done
is "$(curl -sS -m 10 -D "$tmp/headers" -o "$tmp/answer" -w '%{http_code}' -H "$(as r)" "$url/ListBuilds")" 429 "the fourth is too many"
like "$(cat "$tmp/answer")" '"code":"resource_exhausted".*more than 2 times a minute \(burst 3\): try again in [0-9]+ s' "in words"
like "$(headers retry-after) $(headers x-ratelimit-remaining) $(headers x-ratelimit-reset)" '^([1-9]|[12][0-9]|30) 0 [6-9][0-9]$' "Retry-After, and when the burst is there again"
is "$(call GetBuild '{"buildId":"build_01AAAAAAAAAAAAAAAAAAAAAAAA"}' -H "$(as r)" | field code)" resource_exhausted "a procedure is refused as well"
is "$(call ListBuilds '{}' -H "$(as d)")" '{"has_more":false}' "another tenant is not"
admin tenant set r -n requests_per_minute=600 >/dev/null
served() { [ "$(call ListBuilds '{}' -H "$(as r)" | field code)" = "" ]; }
ok "time brings it back" wait_for 10 served
is "$(curl -sS -m 10 "$base/livez")" ok "probes are not counted"

# builds a day
admin tenant set d -n max_daily_builds=3 >/dev/null
for i in 1 2 3; do
	like "$(create r.example/x:$i -H "$(as d)")" '^build_' "build $i of 3 a day"
done
answer=$(call CreateBuild "$(image r.example/x:4)" -H "$(as d)")
midnight=$(date -u -d tomorrow +%Y-%m-%dT00:00:00)
like "$answer" "\"code\":\"resource_exhausted\",\"message\":\"quota max_daily_builds is used up: 3 of 3, reset ${midnight}.000Z\"" "the fourth: which quota, how much, of what, until when"
curl -sS -m 10 -D "$tmp/headers" -o /dev/null -H 'content-type: application/json' -H "$(as d)" -d "$(image r.example/x:4)" "$url/CreateBuild"
ok "Retry-After is when the day ends" test "$(headers retry-after)" -le 86400
like "$answer" "\"type\":\"builder.v1.QuotaFailure\".*\"debug\":\{\"quotaType\":\"max_daily_builds\",\"current\":\"3\",\"limit\":\"3\",\"resetTime\":\"${midnight}Z\"\}" "and a detail for programs"
like "$(used d)" '"maxDailyBuilds":3.*"dailyBuildsUsed":3.*"violations":\[\{"quotaType":"max_daily_builds","currentValue":"3","limitValue":"3","message":"quota' \
	"GetTenantQuotas: limit, usage, violation"
like "$(call CreateBuild '{"config":{"limits":{"maxDailyBuilds":2},"source":{"dockerImage":{"imageUri":"r.example/x"}}}}' -H "$(as d)")" 'max_daily_builds is used up: 3 of 2' \
	"a request can lower the quota for itself"
one=$(call ListBuilds '{}' -H "$(as d)" | grep -o '"buildId":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
wait_state "$one" COMPLETED d
call DeleteBuild "{\"buildId\":\"$one\"}" -H "$(as d)" >/dev/null
is "$(call CreateBuild "$(image r.example/x:4)" -H "$(as d)" | field code)" resource_exhausted "deleting a build does not give its day back"
key='idempotency-key: k'
admin tenant set d -n max_daily_builds=4 >/dev/null
last=$(create r.example/x:5 -H "$(as d)" -H "$key")
like "$last" '^build_' "a raised limit counts at once"
is "$(create r.example/x:5 -H "$(as d)" -H "$key")" "$last" "the same key again is not another build"

# parallel requests, and a kill in the middle of them
admin tenant set p -n max_daily_builds=20 >/dev/null
seq 60 | xargs -P 12 -I{} curl -sS -m 10 -o /dev/null -w '%{http_code}\n' -H 'content-type: application/json' -H "$(as p)" -d "$(image 'r.example/x:{}')" \
	"$url/CreateBuild" | sort | uniq -c | awk '{print $2 "=" $1}' >"$tmp/codes"
is "$(cat "$tmp/codes")" "$(printf '200=20\n429=40')" "60 at once for 20 places: 20 get one"
service_kill 2>/dev/null
service_start || exit
is "$(call CreateBuild "$(image r.example/x:1)" -H "$(as p)" | field code)" resource_exhausted "a kill forgets none of them"
like "$(used p)" '"dailyBuildsUsed":20' "nor counts one twice"

# storage: the played builderd's products take 80000 bytes each
admin tenant set s -n max_storage_bytes=200000 >/dev/null
for i in 1 2; do
	id=$(create r.example/x:$i -H "$(as s)")
	ok "product $i fits" wait_state "$id" COMPLETED s
done
like "$(used s)" '"storageBytesUsed":"160000"' "what is stored is counted"
third=$(create r.example/x:3 -H "$(as s)")
ok "the third starts: there is room left" wait_state "$third" FAILED s
like "$(call GetBuild "{\"buildId\":\"$third\"}" -H "$(as s)")" '"errorMessage":"quota-bytes: quota max_storage_bytes is used up: 240000 of 200000' "but its product has none"
is "$(grep -E "^(storage|start [^ ]*) s " "$tmp/service.log" | grep -B 1 "^start $third" | head -n 1)" 'storage s max=200000 stored=160000' \
	"builderd was told how much is left, before it started"
like "$(cat "$tmp/service.log")" "delete $third" "and removes it"
is "$(call GetTenantQuotas '{"tenantId":"s"}' | grep -o '"storageBytesUsed":"[0-9]*"')" '"storageBytesUsed":"160000"' "it is not counted"
admin tenant set s -n max_storage_bytes=160000 >/dev/null
like "$(call CreateBuild "$(image r.example/x:4)" -H "$(as s)")" 'quota max_storage_bytes is used up: 160000 of 160000, reset by itself never: delete builds' "a full tenant gets no build"
call DeleteBuild "{\"buildId\":\"$id\"}" -H "$(as s)" >/dev/null
like "$(used s)" '"storageBytesUsed":"80000"' "deleting makes room"
like "$(create r.example/x:5 -H "$(as s)")" '^build_' "for the next"

# metrics
curl -sS -m 10 "$base/metrics" >"$tmp/metrics"
value() { sed -n "s/^$1 //p" "$tmp/metrics"; }
is "$(value 'builderd_tenant_quota_usage{tenant="p",quota="max_daily_builds"}') $(value 'builderd_tenant_quota_limit{tenant="p",quota="max_daily_builds"}')" "20 20" \
	"METRICS_TENANTS: usage and limit of each tenant"
is "$(value 'builderd_quota_violations_total{quota="max_daily_builds"}') $(value 'builderd_quota_violations_total{quota="max_storage_bytes"}')" "1 2" "and what was refused since the start"
! command -v promtool >/dev/null || ok "promtool has nothing to say" promtool check metrics <"$tmp/metrics"

# builds at once
admin tenant set c -n max_concurrent_builds=2 >/dev/null
for i in 1 2 3; do
	ids[i]=$(create r.example/hang:$i -H "$(as c)")
done
ok "two run" wait_state "${ids[2]}" BUILDING c
ok "the third waits" in_state "${ids[3]}" PENDING c
like "$(used c)" '"activeBuilds":2.*"buildsQueued":1.*"quotaType":"max_concurrent_builds","currentValue":"2","limitValue":"2"' "and quotas say why"
for i in 1 2 3; do
	call CancelBuild "{\"buildId\":\"${ids[i]}\"}" -H "$(as c)" >/dev/null
done
ok "cancelled, all of them" wait_state "${ids[3]}" CANCELLED c
ok "the running ones, too" wait_state "${ids[1]}" CANCELLED c
like "$(admin tenant show s)" 'stored +[0-9.]+ kB, computed [0-9]+ s today, pulled [0-9.]+ .?B' "the operator sees usage"
service_stop
is "$service_status" 0 "the service ends"
done_testing
