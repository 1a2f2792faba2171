#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A copy of the job store, taken while builds are created, is one that a service can start with.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
copy=$tmp/copy.db
query() { /usr/bin/python3 -c 'import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())' "$copy" "$1"; }

service_start || exit
admin tenant add acme --tier pro -n max_daily_builds=1000 --registries '*' >/dev/null
token=$(admin token create acme 2>/dev/null)
for i in 1 2 3; do
	create "r.example/x:$i" -H 'x-tenant-id: acme' >/dev/null
done
seq 200 | xargs -P 4 -I{} curl -sS -m 20 -o /dev/null -H 'content-type: application/json' -d "$(image 'r.example/x:{}')" "$url/CreateBuild" &
writers=$!
copies=0
while kill -0 "$writers" 2>/dev/null && [ "$copies" -lt 5 ]; do
	rm -f "$copy"
	admin store backup "$copy" >"$tmp/said" 2>&1 || break
	[ "$(query 'PRAGMA integrity_check')" = ok ] && copies=$((copies + 1))
done
wait "$writers"
ok "copies are taken and whole while others write: $copies" test "$copies" -ge 1
rm -f "$copy"
like "$(admin store backup "$copy")" "^$copy [0-9.]+ .?B$" "store backup FILE"
is "$(stat -c %a "$copy")" 600 "for its owner's eyes"
is "$(query 'SELECT count(*) FROM jobs')" 203 "it has all builds"
is "$(query 'PRAGMA journal_mode')" delete "in one file"
fails "a file that is there is not written over" admin store backup "$copy"
is "$(query 'SELECT count(*) FROM jobs')" 203 "it stays as it is"
ok "no copy is left beside the store" bash -c "! ls '$state/jobs' '$tmp' | grep -qE 'copy$|part$'"
is "$(curl -sS -m 10 -o /dev/null -w '%{http_code}' "$base/admin/store-backup")" 403 "it is not served on the port"
fails "nor can it be written where there is no directory" admin store backup "$tmp/nowhere/copy.db"

admin tenant rm acme >/dev/null 2>&1
admin tenant add later >/dev/null
service_stop
rm -r "$state/jobs"
install -d -o $((uid_base + 1)) -g $((uid_base + 1)) "$state/jobs"
install -o $((uid_base + 1)) -g $((uid_base + 1)) -m 600 "$copy" "$state/jobs/jobs.db"
export UNKEY_BUILDERD_AUTH=token
ok "the service starts with the copy" service_start
unlike "$(admin tenant ls)" later "what came after it is not there"
like "$(call ListBuilds '{}' -H "authorization: Bearer $token")" '"total_count":3|"totalCount":3' "what it has is: tenant, token, builds"
service_stop
is "$service_status" 0 "the service ends"
done_testing
