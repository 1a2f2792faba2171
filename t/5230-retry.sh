#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds whose network fails are tried again; what waits for that can be cancelled, deleted, and outlives a kill.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
export UNKEY_BUILDERD_BUILD_RETRY_DELAY=300ms UNKEY_BUILDERD_BUILD_RETRY_MAX_DELAY=500ms
log_of() { curl -sS -m 10 "$url/GetBuildLogs/$1"; }
tries() { wc -c <"$out/$1.tries"; }
waits() { curl -sS -m 5 "$url/GetBuildStatus/$1" | grep -q 'waiting for another try'; }

not_at_midnight
service_start || exit
flaky=$(create r.example/flaky:1)
ok "the third try of a build works" wait_state "$flaky" COMPLETED
like "$(log_of "$flaky")" 'try 1 of 3 failed: network: the registry does not answer; the next one is in 1 s.*try 2 of 3 failed: network' "its log says what happened"
is "$(tries "$flaky")" 3 "builderd was asked three times"
secret=$(call CreateBuild '{"config":{"source":{"dockerImage":{"imageUri":"r.example/flaky:2","auth":{"token":"t0ken"}}}}}' | grep -o '"buildId":"[^"]*"' | cut -d '"' -f 4)
ok "credentials last for all tries" wait_state "$secret" COMPLETED
like "$(cat "$out/$secret.source")" '"token":"t0ken"' "the last one had them as well"
ok "they are not on disk" bash -c "! grep -rqa t0ken '$state'"
lost=$(create r.example/unreachable:1)
ok "after the last try it has failed" wait_state "$lost" FAILED
like "$(call GetBuild "{\"buildId\":\"$lost\"}")" '"errorMessage":"network: the registry does not answer"' "with the last reason"
like "$(call GetTenantQuotas '{}')" '"dailyBuildsUsed":3.*"computeSecondsUsed":"1[0-9]","pulledBytesUsed":"7000"' "a build counts once, what its tries took counts each time"
bad=$(create r.example/fail:1)
ok "what is not the network's fault is not tried again" wait_state "$bad" FAILED
unlike "$(log_of "$bad")" 'try 1 of' "not once"
service_stop

export UNKEY_BUILDERD_BUILD_RETRY_DELAY=1h UNKEY_BUILDERD_BUILD_RETRY_MAX_DELAY=1h
service_start || exit
id=$(create r.example/unreachable:2)
ok "a build waits for its next try" wait_for 10 waits "$id"
ok "as a PENDING one" in_state "$id" PENDING
like "$(call GetTenantQuotas '{}')" '"buildsQueued":1' "it counts as waiting"
other=$(create r.example/x:1)
ok "its slot is free for others meanwhile" wait_state "$other" COMPLETED
like "$(call CancelBuild "{\"buildId\":\"$id\"}")" '"success":true,"state":"BUILD_STATE_CANCELLED"' "cancelled at once"
gone=$(create r.example/unreachable:3)
ok "another waits" wait_for 10 waits "$gone"
is "$(call DeleteBuild "{\"buildId\":\"$gone\",\"force\":true}")" '{"success":true}' "deleted by force"
is "$(call GetBuild "{\"buildId\":\"$gone\"}" | field code)" not_found "it is gone"
kept=$(create r.example/flaky:4)
ok "a third waits" wait_for 10 waits "$kept"
service_kill 2>/dev/null
service_start || exit
ok "a kill does not end it" in_state "$kept" PENDING
like "$(log_of "$kept")" 'try 1 of 3 failed' "nor what it has behind it"
like "$(call CancelBuild "{\"buildId\":\"$kept\"}")" 'BUILD_STATE_CANCELLED' "it can be cancelled still"
service_stop
is "$service_status" 0 "the service ends"
done_testing
