#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The operator's records: tenants and tokens, over the socket of the host, and what they mean for who calls.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
export UNKEY_BUILDERD_AUTH=token service_tier_free='requests_per_minute=1000000 request_burst=10000'
code() { sed -n 's/.*"code":"\([^"]*\)".*/\1/p' | head -n 1; }
with() { printf 'authorization: Bearer %s' "$1"; }

service_start || exit

# tenants
is "$(admin tenant add acme --tier pro --customer c1 --organization o1 --limit max_daily_builds=7 --registries 'r.example,*.acme.example' | sed -n 's/^limits *//p')" \
	"max_daily_builds=7 allowed_registries=r.example,*.acme.example" "a tenant is added with its own limits"
fails "it cannot be added twice" admin tenant add acme
fails "nor changed before it is there" admin tenant set nobody --tier pro
like "$(admin tenant set acme --limit max_daily_builds= --limit max_concurrent_builds=2 2>&1)" 'limits +max_concurrent_builds=2 allowed_registries=r.example' \
	"limits are changed one by one"
like "$(admin tenant show acme)" 'effective +max_concurrent_builds=2 max_daily_builds=100 timeout_seconds=900' "what is not its own is the tier's"
like "$(admin --json tenant show acme)" '"tenantId":"acme","customerId":"c1","organizationId":"o1","tier":"TENANT_TIER_PRO"' "--json"
for wrong in '--limit nonsense=1' '--limit max_daily_builds=-1' '--limit max_daily_builds=x' '--tier gold' '--encryption maybe' '--enable --disable'; do
	# shellcheck disable=SC2086
	fails "refused: $wrong" admin tenant set acme $wrong
done
fails "a tenant id is no path" admin tenant add ../x
ok "another tenant" admin tenant add other
like "$(admin tenant ls)" 'acme +pro +enabled.*other +free +enabled' "they are listed"

# tokens
build_token=$(admin token create acme --description 'of a test' 2>"$tmp/said")
like "$build_token" '^bld_[0-9a-f]{64}$' "a token is 256 random bits"
like "$(cat "$tmp/said")" 'tok_[0-9a-f]{16}, scope build, expires never' "what it is goes to standard error"
token_id=$(grep -o 'tok_[0-9a-f]*' "$tmp/said")
ok "it is not on disk" bash -c "! grep -rqaF '$build_token' '$state'"
ok "nor in the log" bash -c "! grep -qF '$build_token' '$tmp/service.log'"
unlike "$(admin token ls; admin --json token ls)" "${build_token#bld_}" "nor in a list"
read_token=$(admin token create acme --scope read 2>/dev/null)
admin_token=$(admin token create acme --scope admin 2>/dev/null)
short_token=$(admin token create acme --scope read --expires 1s 2>/dev/null)
other_token=$(admin token create other 2>/dev/null)
metrics_token=$(admin token create --scope metrics 2>/dev/null)
for wrong in 'acme --scope metrics' '--scope read' 'acme --scope everything' 'nobody --scope read' 'acme --expires 0s'; do
	# shellcheck disable=SC2086
	fails "refused: token create $wrong" admin token create $wrong
done

# what they open
is "$(call ListBuilds '{}' | code)" unauthenticated "without a token"
like "$(curl -sS -m 10 -D - -o /dev/null "$url/ListBuilds")" 'HTTP/1.1 401.*[Ww][Ww][Ww]-[Aa]uthenticate: Bearer' "401 says how"
is "$(call ListBuilds '{}' -H 'authorization: Basic eDp5' | code)" unauthenticated "another scheme"
last=0
[ "${build_token: -1}" != 0 ] || last=1
is "$(call ListBuilds '{}' -H "$(with "${build_token%?}$last")" | code)" unauthenticated "nearly a token"
id=$(create r.example/x:1 -H "$(with "$build_token")")
like "$id" '^build_' "scope build creates"
has_ended() { call GetBuild "{\"buildId\":\"$1\"}" -H "$(with "$read_token")" | grep -q "BUILD_STATE_$2"; }
ok "scope read looks" wait_for 10 has_ended "$id" COMPLETED
like "$(call GetBuild "{\"buildId\":\"$id\"}" -H "$(with "$read_token")")" '"tenantId":"acme","customerId":"c1".*"tier":"TENANT_TIER_PRO"' \
	"tenant, customer and tier are the record's"
is "$(call CreateBuild "$(image r.example/x:1)" -H "$(with "$read_token")" | code)" permission_denied "scope read does not create"
is "$(call DeleteBuild "{\"buildId\":\"$id\"}" -H "$(with "$build_token")" | code)" permission_denied "scope build does not delete"
is "$(call GetBuild "{\"buildId\":\"$id\"}" -H "$(with "$other_token")")" \
	"$(call GetBuild '{"buildId":"build_01AAAAAAAAAAAAAAAAAAAAAAAA"}' -H "$(with "$other_token")")" "another tenant's build is no build"
is "$(call GetBuild "{\"buildId\":\"$id\",\"tenantId\":\"acme\"}" -H "$(with "$other_token")" | code)" permission_denied "naming the other tenant"
is "$(call ListBuilds '{"tenantId":"acme"}' -H "$(with "$other_token")" | sed s/acme/TENANT/)" \
	"$(call ListBuilds '{"tenantId":"nobody"}' -H "$(with "$other_token")" | sed s/nobody/TENANT/)" "a tenant that is there and one that is not: the same words"
is "$(call CreateBuild '{"config":{"tenant":{"customerId":"c2"},"source":{"dockerImage":{"imageUri":"r.example/x"}}}}' -H "$(with "$build_token")" | code)" \
	permission_denied "another customer"
like "$(call CreateBuild "$(image elsewhere.example/x:1)" -H "$(with "$build_token")")" 'permission_denied.*may not use registry.*elsewhere.example.*only r.example' \
	"a registry that the record does not list"
like "$(call CreateBuild "$(image r.example/x)" -H "$(with "$other_token")")" 'permission_denied.*only docker.io,ghcr.io' "tier free has two registries"
like "$(call CreateBuild '{"config":{"tenant":{"tier":"TENANT_TIER_DEDICATED"},"source":{"dockerImage":{"imageUri":"r.example/x:1"}}}}' -H "$(with "$build_token")")" \
	'"tier":"pro"' "a request's claim of a tier counts for nothing"
like "$(call CreateBuild '{"config":{"limits":{"maxDailyBuilds":1000},"source":{"dockerImage":{"imageUri":"r.example/x:1"}}}}' -H "$(with "$build_token")")" \
	'invalid_argument.*max_daily_builds' "nor does one of higher limits"

# a follower whose token is revoked
follow_token=$(admin token create acme --scope read 2>"$tmp/said")
hang=$(create r.example/hang:1 -H "$(with "$build_token")")
curl -sS -N -m 60 -H "$(with "$follow_token")" "$url/GetBuildLogs/$hang?follow=1" >"$tmp/followed" 2>&1 &
follower=$!
ok "a token follows a log" wait_for 10 grep -q queued "$tmp/followed"
admin token revoke "$(grep -o 'tok_[0-9a-f]*' "$tmp/said")" >/dev/null
call CancelBuild "{\"buildId\":\"$hang\",\"reason\":\"not for revoked eyes\"}" -H "$(with "$build_token")" >/dev/null
wait "$follower"
unlike "$(cat "$tmp/followed")" 'revoked eyes' "once it is revoked it gets no line more"
ok "others do" wait_for 10 has_ended "$hang" CANCELLED

# the end of tokens and tenants
sleep 1.1
like "$(call ListBuilds '{}' -H "$(with "$short_token")")" 'unauthenticated.*expired' "an expired token"
is "$(admin token revoke "$token_id")" done "a token is revoked"
like "$(call ListBuilds '{}' -H "$(with "$build_token")")" 'unauthenticated.*revoked' "and is worth nothing"
fails "a second time" admin token revoke "$token_id"
like "$(admin token ls acme)" "$token_id +acme +build +never +revoked +of a test" "it is listed as such"
ok "a tenant is disabled" admin tenant set acme --disable
like "$(call ListBuilds '{}' -H "$(with "$read_token")")" 'permission_denied.*disabled' "nothing is done for it"
ok "and enabled" admin tenant set acme --enable
ok "encryption is required" admin tenant set acme --encryption required
create_token=$(admin token create acme 2>/dev/null)
like "$(call CreateBuild "$(image r.example/x:2)" -H "$(with "$create_token")")" 'failed_precondition.*does not encrypt' \
	"then a backend that does not encrypt takes no builds"
admin tenant set acme --encryption any >/dev/null
like "$(admin tenant rm acme 2>&1)" 'has [0-9]+ builds: delete them first' "a tenant with builds stays"
is "$(call ListBuilds '{}' -H "$(with "$read_token")" | grep -o '"buildId":"[^"]*"' | cut -d '"' -f 4 | while read -r build; do
	call DeleteBuild "{\"buildId\":\"$build\",\"force\":true}" -H "$(with "$admin_token")" && echo
done | sort -u)" '{"success":true}' "scope admin deletes them"
is "$(admin tenant rm acme)" done "then it goes"
like "$(call ListBuilds '{}' -H "$(with "$read_token")")" 'unauthenticated' "and its tokens with it"

# the operator's own
is "$(curl -sS -m 10 "$base/metrics" | code)" unauthenticated "/metrics is not for everybody"
is "$(curl -sS -m 10 -H "$(with "$other_token")" "$base/metrics" | code)" permission_denied "nor for tenants"
like "$(curl -sS -m 10 -H "$(with "$metrics_token")" "$base/metrics")" 'builderd_build_info' "scope metrics reads it"
is "$(call ListBuilds '{}' -H "$(with "$metrics_token")" | code)" permission_denied "and nothing else"
is "$(curl -sS -m 10 "$base/livez")" ok "probes need no token"
admin_rpc=builder.v1.AdminService/ListTenants
for token in "$other_token" "$metrics_token" ""; do
	like "$(curl -sS -m 10 -H 'content-type: application/json' ${token:+-H "$(with "$token")"} -d '{}' "$base/$admin_rpc" | code)" \
		'^(unauthenticated|permission_denied)$' "the records are not served on the port"
done
like "$(curl -sS -m 10 --unix-socket "$out/api.sock" -H 'content-type: application/json' -d '{"tenantId":"other"}' http://x/builder.v1.BuilderService/ListBuilds)" \
	'has_more' "root on the socket acts for the tenant it names"
is "$(setpriv --reuid 12345 --clear-groups curl -sS -m 10 --unix-socket "$out/api.sock" -H 'content-type: application/json' -d '{}' "http://x/$admin_rpc" | code)" \
	permission_denied "another user on the socket does not"

service_kill 2>/dev/null
service_start || exit
like "$(admin tenant ls)" 'other +free' "a kill loses no record"
like "$(call ListBuilds '{}' -H "$(with "$other_token")")" 'has_more' "nor a token"
service_stop
is "$service_status" 0 "the service ends"

# how it may listen
refused() { # DESC REGEX NAME=VALUE...
	local desc=$1 want=$2
	shift 2
	env UNKEY_BUILDERD_STATE_DIR="$state" UNKEY_BUILDERD_PORT=0 BUILDERD_API="$build/builderd-api" "$@" \
		timeout 20 "$build/t/tools/fake-builderd" "$out" >"$tmp/refused.log" 2>&1
	like "$(cat "$tmp/refused.log")" "$want" "$desc"
}
refused "tokens do not go over a network in clear text" 'tokens would cross the network in clear text' UNKEY_BUILDERD_ADDRESS=0.0.0.0
refused "a bad limit stops the start" 'TIER_\*: tier free: max_daily_builds=many: expected' UNKEY_BUILDERD_TIER_FREE=max_daily_builds=many
service_address=0.0.0.0 UNKEY_BUILDERD_TLS_PROXY=192.0.2.7 service_start || exit
is "$(curl -sS -m 10 "$base/livez")" ok "with a proxy that ends TLS it listens; loopback is served"
service_stop
done_testing
