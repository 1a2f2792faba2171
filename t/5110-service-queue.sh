#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Tenants, the queue, cancelling, idempotency, lists, and what a restart finds.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
export UNKEY_BUILDERD_MAX_CONCURRENT_BUILDS=2
as() { printf 'x-tenant-id: %s' "$1"; }

service_start || exit

# tenants
mine=$(create r.example/x:1 -H "$(as a)")
wait_state "$mine" COMPLETED a
is "$(call GetBuild "{\"buildId\":\"$mine\"}" -H "$(as b)")" "$(call GetBuild '{"buildId":"build_01AAAAAAAAAAAAAAAAAAAAAAAA"}' -H "$(as b)")" "another tenant's build and no build: the same answer"
for method in CancelBuild DeleteBuild; do
	is "$(call $method "{\"buildId\":\"$mine\"}" -H "$(as b)" | field code)" not_found "$method of another tenant's build"
done
for form in GetBuildStatus GetBuildLogs GetBuildArtifact; do
	is "$(curl -sS -m 5 -H "$(as b)" "$url/$form/$mine" | field code)" not_found "$form of another tenant's build"
done
is "$(call GetBuild "{\"buildId\":\"$mine\",\"tenantId\":\"a\"}" -H "$(as b)" | field code)" permission_denied "header and body differ"
is "$(call CreateBuild '{"config":{"tenant":{"tenantId":"../x"},"source":{"dockerImage":{"imageUri":"x"}}}}' | field code)" invalid_argument "a tenant id is no path"
is "$(call ListBuilds '{}' -H "$(as b)")" '{"has_more":false}' "an empty list"

# queue: one build of tenant a at a time (tier free), two in all
a1=$(create r.example/hang:1 -H "$(as a)")
a2=$(create r.example/hang:2 -H "$(as a)")
b1=$(create r.example/hang:3 -H "$(as b)")
c1=$(create r.example/x:3 -H "$(as c)")
ok "the first runs" wait_state "$a1" BUILDING a
ok "the other tenant's first runs" wait_state "$b1" BUILDING b
ok "the second of a waits for the first" in_state "$a2" PENDING a
ok "the third tenant waits for a slot" in_state "$c1" PENDING c
like "$(curl -sS -m 5 "$base/health")" '"running":2,"queued":2,"slots":2' "health counts them"
like "$(call GetTenantQuotas '{"tenantId":"a"}')" '"maxConcurrentBuilds":1.*"activeBuilds":1.*"buildsQueued":1' "and so do quotas"
is "$(call DeleteBuild "{\"buildId\":\"$b1\",\"tenantId\":\"b\"}" | field code)" failed_precondition "a running build is not deleted"
like "$(call CancelBuild "{\"buildId\":\"$b1\",\"tenantId\":\"b\",\"reason\":\"enough\"}")" '"success":true' "cancel a running build"
ok "it is cancelled" wait_state "$b1" CANCELLED b
like "$(curl -sS -m 5 -H "$(as b)" "$url/GetBuildLogs/$b1")" 'asked to cancel: enough' "the reason is in the log"
ok "its slot goes to the next tenant" wait_state "$c1" COMPLETED c
like "$(call CancelBuild "{\"buildId\":\"$a2\",\"tenantId\":\"a\"}")" '"success":true,"state":"BUILD_STATE_CANCELLED"' "cancel a waiting build: at once"
like "$(call CancelBuild "{\"buildId\":\"$c1\",\"tenantId\":\"c\"}")" '\{"state":"BUILD_STATE_COMPLETED"\}' "cancel an ended build: no effect"
is "$(call DeleteBuild "{\"buildId\":\"$a1\",\"tenantId\":\"a\",\"force\":true}")" '{"success":true}' "force cancels and deletes"
is "$(call GetBuild "{\"buildId\":\"$a1\",\"tenantId\":\"a\"}" | field code)" not_found "it is gone"

# idempotency
one=$(create r.example/x:9 -H "$(as i)" -H 'idempotency-key: k1')
is "$(create r.example/x:9 -H "$(as i)" -H 'idempotency-key: k1')" "$one" "the same key: the same build"
is "$(call CreateBuild "$(image r.example/x:8)" -H "$(as i)" -H 'idempotency-key: k1' | field code)" already_exists "the same key, another request"
ok "the same key of another tenant" test "$(create r.example/x:9 -H "$(as j)" -H 'idempotency-key: k1')" != "$one"

# many at once, and pages
seq 25 | xargs -P 8 -I{} curl -sS -m 10 -o /dev/null -H 'content-type: application/json' -H "$(as m)" -d "$(image 'r.example/x:{}')" "$url/CreateBuild"
settled() { [ "$(curl -sS -m 5 -H "$(as m)" "$url/ListBuilds?status=COMPLETED" | field total_count)" = 25 ]; }
ok "25 created at once all end" wait_for 30 settled
token= ids=
for page in 1 2 3; do
	answer=$(call ListBuilds "{\"tenantId\":\"m\",\"pageSize\":10,\"pageToken\":\"$token\"}")
	ids+=$(grep -o '"buildId":"[^"]*"' <<<"$answer")$'\n'
	token=$(field nextPageToken <<<"$answer")
	like "$answer" '"totalCount":25' "page $page: total"
	[ "$page" != 1 ] || first_token=$token
done
is "$token" "" "three pages of ten"
is "$(sort -u <<<"$ids" | grep -c build_)" 25 "each build once"
is "$(call ListBuilds "{\"tenantId\":\"i\",\"pageToken\":\"$first_token\"}" | field code)" invalid_argument "a token of another tenant"
is "$(call ListBuilds "{\"tenantId\":\"m\",\"pageToken\":\"${first_token/[0-9]/x}\"}" | field code)" invalid_argument "a changed token"
like "$(curl -sS -m 5 "$url/ListBuilds?tenant_id=m&limit=3&offset=24")" '"total_count":25,"has_more":false' "the documented form"
like "$(call GetBuildStats '{"tenantId":"m"}')" '"totalBuilds":25,"successfulBuilds":25' "statistics"

# restart
running=$(create r.example/hang:r -H "$(as r)")
wait_state "$running" BUILDING r
waiting=$(create r.example/x:w -H "$(as r)")
secret=$(call CreateBuild '{"config":{"source":{"dockerImage":{"imageUri":"r.example/x:s","auth":{"token":"t0ken"}}}}}' -H "$(as r)" | grep -o '"buildId":"[^"]*"' | cut -d '"' -f 4)
is "$(call GetBuild "{\"buildId\":\"$waiting\",\"tenantId\":\"r\"}" | grep -o '"state":"[^"]*"')" '"state":"BUILD_STATE_PENDING"' "one waits"
service_kill
service_start || exit
like "$(call GetBuild "{\"buildId\":\"$running\",\"tenantId\":\"r\"}")" 'BUILD_STATE_FAILED.*"errorMessage":"restarted: the service was restarted while the build was in state BUILD_STATE_BUILDING' "killed: what ran is FAILED and says why"
ok "what waited runs" wait_state "$waiting" COMPLETED r
like "$(call GetBuild "{\"buildId\":\"$secret\",\"tenantId\":\"r\"}")" 'BUILD_STATE_FAILED.*credentials are never stored' "what waited with credentials cannot"
is "$(curl -sS -m 5 -H "$(as m)" "$url/ListBuilds" | field total_count)" 25 "nothing else is lost"
like "$(call ListBuilds "{\"tenantId\":\"m\",\"pageSize\":10,\"pageToken\":\"$first_token\"}")" '"builds"' "a page token survives"

# a follower when the service stops
following=$(create r.example/hang:f)
wait_state "$following" BUILDING
curl -sS -N -m 20 "$url/GetBuildLogs/$following?follow=1" >"$tmp/followed" 2>&1 &
follower=$!
sleep 0.3
service_stop
is "$service_status" 0 "the service ends while a client follows"
wait "$follower"
like "$(cat "$tmp/followed")" '"message":"queued"' "the client got what there was"

# not loopback: refuse
rm -f "$out/port"
UNKEY_BUILDERD_STATE_DIR=$state UNKEY_BUILDERD_ADDRESS=0.0.0.0 UNKEY_BUILDERD_PORT=0 BUILDERD_API=$build/builderd-api \
	timeout 20 "$build/t/tools/fake-builderd" "$out" >"$tmp/refused.log" 2>&1
like "$(cat "$tmp/refused.log")" 'ADDRESS: 0\.0\.0\.0 is not a loopback address: clients are not authenticated' "an address that others reach is refused, with the reason"
done_testing
