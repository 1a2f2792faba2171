#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The audit log: a line for what was done and for what was refused, chained; what is changed afterwards shows.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
export UNKEY_BUILDERD_AUTH=token service_tier_free='requests_per_minute=60000 request_burst=3000 max_daily_builds=3'
log=$state/audit/audit-00000001.jsonl
with() { printf 'authorization: Bearer %s' "$1"; }
event() { # JQ-CONDITION: number of lines
	jq -c "select($1)" "$log" | wc -l
}

service_start || exit
for tenant in a b; do
	admin tenant add "$tenant" --customer "customer-$tenant" --registries r.example >/dev/null || exit
done
token=$(admin token create a --scope admin 2>"$tmp/said")
token_id=$(grep -o 'tok_[0-9a-f]*' "$tmp/said")
other=$(admin token create b 2>/dev/null)
is "$(stat -c '%a %u' "$state/audit" "$log" | tr '\n' ' ')" "700 $((uid_base + 1)) 600 $((uid_base + 1)) " "the log is its writer's alone"

id=$(create r.example/x:1 -H "$(with "$token")")
ended() { call GetBuild "{\"buildId\":\"$1\"}" -H "$(with "$token")" | grep -q "BUILD_STATE_$2"; }
wait_for 10 ended "$id" COMPLETED
bad=$(create r.example/fail:1 -H "$(with "$token")")
wait_for 10 ended "$bad" FAILED
hang=$(create r.example/hang:1 -H "$(with "$token")")
wait_for 10 ended "$hang" BUILDING
call CancelBuild "{\"buildId\":\"$hang\",\"reason\":\"enough\"}" -H "$(with "$token")" >/dev/null
wait_for 10 ended "$hang" CANCELLED
call CreateBuild "$(image r.example/x:4)" -H "$(with "$token")" >/dev/null # over the quota
call CreateBuild "$(image elsewhere.example/x:1)" -H "$(with "$other")" >/dev/null
call ListBuilds '{}' >/dev/null
call GetBuild "{\"buildId\":\"$id\",\"tenantId\":\"a\"}" -H "$(with "$other")" >/dev/null
curl -sS -m 10 -o /dev/null -H "$(with "$token")" "$url/GetBuildArtifact/$id"
call DeleteBuild "{\"buildId\":\"$id\"}" -H "$(with "$token")" >/dev/null
admin tenant set b -n requests_per_minute=1 -n request_burst=1 >/dev/null
seq 5 | xargs -P 4 -I{} curl -sS -m 10 -o /dev/null -H "$(with "$other")" "$url/ListBuilds"

about="select(.build == \"$id\") | [.event, .outcome] | join(\" \")"
is "$(jq -r "$about" "$log" | tr '\n' ',')" \
	"quota_check allowed,build_start allowed,network_access allowed,build_complete allowed,storage_access allowed,storage_access allowed," "the life of a build, in order"
is "$(jq -c "select(.build == \"$id\" and .event == \"build_start\") | [.tenant, .customer, .resource, (.address | startswith(\"127.0.0.1:\"))]" "$log")" \
	'["a","customer-a","r.example/x:1",true]' "tenant, customer, image, address"
is "$(event ".event == \"build_complete\" and .outcome == \"error\" and .build == \"$bad\" and (.reason | startswith(\"unauthorized: \"))")" 1 "a failed build, with the reason"
is "$(event ".event == \"network_access\" and .outcome == \"denied\" and .build == \"$bad\" and .resource == \"r.example\"")" 1 "that the registry refused"
is "$(event ".event == \"build_cancel\" and .outcome == \"allowed\" and .build == \"$hang\" and .reason == \"enough\" and .identity == \"token $token_id\"")" 1 "who cancelled"
is "$(event '.event == "quota_check" and .outcome == "denied" and .tenant == "a" and (.reason | contains("max_daily_builds"))')" 1 "a quota that was used up"
is "$(event '.event == "policy_violation" and .outcome == "denied" and .tenant == "b" and (.reason | contains("elsewhere.example"))')" 1 "a registry that is not the tenant's"
is "$(event '.event == "network_access" and .outcome == "denied" and .tenant == "b"')" 1 "which is not reached"
is "$(event '.event == "resource_access" and .outcome == "denied" and (.reason | contains("a token is needed"))')" 1 "a call without a token"
is "$(event '.event == "policy_violation" and .tenant == "b" and (.reason | contains("not of tenant"))')" 1 "a call for another tenant"
ok "the requests that were too many" test "$(event '.event == "quota_check" and .outcome == "denied" and .tenant == "b"')" -ge 1
is "$(event '.event == "resource_access" and .identity == "root" and (.resource | endswith("/CreateToken"))')" 2 "what root did to the records"
is "$(event '.event == "resource_access" and .outcome == "allowed" and (.resource | contains("/GetBuild"))')" 0 "looking leaves no line"
ok "no token is in it" bash -c "! grep -qF -e '${token#bld_}' -e '${other#bld_}' '$log'"

is "$(jq -s 'length' "$log")" "$(jq -s '[.[].seq] | max' "$log")" "lines are numbered from 1"
ok "it verifies" admin audit verify "$log"
end=$(admin audit end)
like "$end" "^$(wc -l <"$log"):[0-9a-f]{64}$" "the service says where it ends"
like "$(admin audit verify --end "$end" "$log")" 'as they were written, the end too' "and that is where it ends"
is "$(admin --json audit verify --end "$end" "$log" | jq -c '[.lines == .last, .isEndProved, .errors]')" '[true,true,[]]' "--json"

# what verify sees
lines=$(wc -l <"$log")
broken() { # DESC REGEX [OPTION...]: of $tmp/copy
	local desc=$1 want=$2
	shift 2
	fails "$desc: refused" admin audit verify "$@" "$tmp/copy"
	like "$(admin audit verify "$@" "$tmp/copy")" "$want" "$desc: it says where"
}
sed '5s/"outcome":"[a-z]*"/"outcome":"error"/' "$log" >"$tmp/copy"
broken "an edit" 'copy:6: the line before this one, number 5, was changed'
sed 5d "$log" >"$tmp/copy"
broken "a removed line" 'copy:5: line number 5 is missing before this one'
sed 5,7d "$log" >"$tmp/copy"
broken "removed lines" 'copy:5: line numbers 5 to 7 are missing before this one'
{ sed -n 1,4p "$log"; sed -n 6p "$log"; sed -n 5p "$log"; sed -n '7,$p' "$log"; } >"$tmp/copy"
broken "two that changed places" 'copy:5: line number 5 is missing.*copy:6: line number 5 comes behind number 6'
sed 5p "$log" >"$tmp/copy"
broken "one that is there twice" 'copy:6: line number 5 comes behind number 5'
sed '5s/.*/rubbish/' "$log" >"$tmp/copy"
broken "rubbish" 'copy:5: this is no line of an audit log'
head -c -20 "$log" >"$tmp/copy"
broken "a cut in the last line" "copy:$lines: the line is cut off in its middle"
sed '$d' "$log" >"$tmp/copy"
ok "a whole line cut off at the end cannot be seen alone" admin audit verify "$tmp/copy"
broken "against what was noted it can" "copy:$((lines - 1)): the log ends with line number $((lines - 1)), number $lines was noted" --end "$end"
sed '$s/"time":"2/"time":"3/' "$log" >"$tmp/copy"
broken "so can an edit of the last line" 'is not the one that was noted' --end "$end"
sed '5s/"tenant"/"tenaNt"/;5s/$/ /' "$log" | awk 'NR != 5 {print} NR == 5 {print}' >"$tmp/copy"
broken "a blank at the end of a line" 'number 5, was changed'

# a kill, a stop, a torn line, a new file
service_kill 2>/dev/null
printf '{"seq":999999,"ti' >>"$log"
service_start || exit
admin tenant set a --tier pro >/dev/null
ok "the chain goes on behind a torn line, which is gone" admin audit verify --end "$(admin audit end)" "$log"
service_stop
is "$service_status" 0 "the service ends"
sed -i '$d' "$log"
sed -i '$d' "$log"
service_start || exit
like "$(cat "$tmp/service.log")" 'the audit log was changed reason="lines [0-9]+ to [0-9]+ were written and are not there any more"' "lines that were cut off while it was down are missed"
is "$(event '.event == "audit_gap" and .outcome == "error"')" 1 "in the log as well"
like "$(admin audit verify "$log")" 'are missing before this one' "and verify says so"
service_stop

rm -r "$state/audit" "$state/jobs/"*
export UNKEY_BUILDERD_AUDIT_READS=true UNKEY_BUILDERD_AUDIT_MAX_SIZE_MB=1 service_tier_free='requests_per_minute=1000000 request_burst=100000'
service_start || exit
admin tenant add a >/dev/null
token=$(admin token create a --scope read 2>/dev/null)
# some 4000 lines of 300 bytes, over one connection
/usr/bin/python3 - "$base" "$token" <<-'P'
	import http.client, sys
	c = http.client.HTTPConnection(sys.argv[1].split("//")[1])
	for i in range(4200):
	    c.request("GET", "/builder.v1.BuilderService/ListBuilds?limit=1", headers={"Authorization": "Bearer " + sys.argv[2]})
	    assert c.getresponse().read()
P
is "$?" 0 "many requests"
is "$(basename -a "$state"/audit/* | tr '\n' ' ')" "audit-00000001.jsonl audit-00000002.jsonl " "a full file is followed by the next one"
ok "AUDIT_READS: each has a line" test "$(cat "$state"/audit/* | grep -c '/ListBuilds"')" = 4200
ok "the chain goes through both" admin audit verify --end "$(admin audit end)" "$state"/audit/*
fails "not in the other order" admin audit verify "$state/audit/audit-00000002.jsonl" "$log"
ok "a later file alone can be checked, too" admin audit verify "$state/audit/audit-00000002.jsonl"
service_kill 2>/dev/null
service_start || exit
admin tenant set a --tier pro >/dev/null
ok "and goes on behind a kill" admin audit verify --end "$(admin audit end)" "$state"/audit/*

# a flood of refusals is counted, not written
before=$(cat "$state"/audit/* | wc -l)
/usr/bin/python3 - "$base" <<-'P'
	import http.client, sys
	c = http.client.HTTPConnection(sys.argv[1].split("//")[1])
	for i in range(3000):
	    c.request("GET", "/builder.v1.BuilderService/ListBuilds")
	    assert c.getresponse().read()
P
sleep 1.1
call ListBuilds '{}' >/dev/null
after=$(cat "$state"/audit/* | wc -l)
written=$(cat "$state"/audit/* | jq -c 'select(.event == "resource_access" and .outcome == "denied")' | wc -l)
withheld=$(cat "$state"/audit/* | jq -r 'select(.event == "audit_gap") | .reason' | awk '{n += $1} END {print n + 0}')
diag "3001 refusals: $written lines, $withheld counted only, $((after - before)) lines in all"
is "$((written + withheld))" 3001 "all are accounted for"
service_stop
done_testing
