#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kill -9 of the service at any moment of 200 builds: each that was acknowledged ends, and what tenants used adds up.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
export UNKEY_BUILDERD_MAX_CONCURRENT_BUILDS=20 UNKEY_BUILDERD_TENANT_DEFAULT_TIER=dedicated UNKEY_BUILDERD_BUILD_RETRY_DELAY=50ms
words=(x fail flaky x x)

: >"$tmp/acknowledged"
creator() { # N: builds of tenant tN, as long as there is a service
	local i id
	for i in $(seq 50); do
		for _ in $(seq 400); do
			id=$(curl -s -m 10 -H 'content-type: application/json' -H "x-tenant-id: t$1" -H "idempotency-key: $i" \
				-d "$(image "r.example/${words[i % 5]}:$i")" "http://127.0.0.1:$(cat "$out/port" 2>/dev/null)/builder.v1.BuilderService/CreateBuild" |
				grep -o '"buildId":"[^"]*"' | cut -d '"' -f 4)
			[ -n "$id" ] && break
			sleep 0.05
		done
		echo "t$1 $id" >>"$tmp/acknowledged"
	done
}

not_at_midnight
service_start || exit
for n in 1 2 3 4; do
	creator $n 9>&- &
	creators+=($!)
done
busy() { kill -0 "${creators[@]}" 2>/dev/null; }
kills=0
while busy && [ "$kills" -lt 12 ]; do
	sleep "0.$((RANDOM % 7))$((RANDOM % 10))"
	service_kill 2>/dev/null
	kills=$((kills + 1))
	service_start || exit
done
wait "${creators[@]}"
diag "killed $kills times"
ok "it was killed meanwhile" test "$kills" -ge 3
is "$(grep -c ' build_' "$tmp/acknowledged")" 200 "200 builds were acknowledged"
is "$(sort -u "$tmp/acknowledged" | wc -l)" 200 "each once: the same key never made two"

idle() { [ "$(curl -sS -m 5 "$base/health" | grep -o '"running":[0-9]*,"queued":[0-9]*')" = '"running":0,"queued":0' ]; }
all_ended() { idle && sleep 0.3 && idle; }
ok "all come to an end" wait_for 60 all_ended
for n in 1 2 3 4; do
	call ListBuilds "{\"tenantId\":\"t$n\",\"pageSize\":1000}" >"$tmp/list"
	is "$(jq -r '.builds[] | "t'$n' " + .buildId' "$tmp/list" | sort)" "$(grep "^t$n " "$tmp/acknowledged" | sort)" "tenant $n: what was acknowledged is there, and nothing else"
	is "$(jq -r '.builds[].state' "$tmp/list" | grep -cvE 'COMPLETED|FAILED')" 0 "in a final state"
	completed=$(jq '[.builds[] | select(.state == "BUILD_STATE_COMPLETED")] | length' "$tmp/list")
	failed=$(jq '[.builds[] | select(.state == "BUILD_STATE_FAILED")] | length' "$tmp/list")
	is "$(call GetTenantQuotas "{\"tenantId\":\"t$n\"}" | jq -c '.currentUsage | [.dailyBuildsUsed, .buildsCompletedToday, .buildsFailedToday, .storageBytesUsed]')" \
		"[50,$completed,$failed,\"$((completed * 80000))\"]" "usage adds up: 50 builds, $completed completed, $failed failed"
done
ok "the audit log has no hole" admin audit verify --end "$(admin audit end)" "$state"/audit/*
service_stop
is "$service_status" 0 "the service ends"
done_testing
