#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who may call what: every method and route, taken from the tables of the program, with every kind of credential.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
export UNKEY_BUILDERD_AUTH=token

"$build/t/tools/api-list" >"$tmp/list" || exit
# The contract's procedures, from its files, are all in the table, and each row says who may.
sed -n 's/^package \(.*\);/package \1/p; s/^service \([A-Za-z]*\).*/service \1/p; s/^ *rpc \([A-Za-z]*\)(.*/rpc \1/p' "$top"/proto/*.proto |
	awk '$1 == "package" {package = $2} $1 == "service" {service = $2} $1 == "rpc" {print "/" package "." service "/" $2}' | sort >"$tmp/declared"
cut -f 1,3 "$tmp/list" | sed -n 's/^method\t//p' | sort >"$tmp/served"
is "$(comm -23 "$tmp/declared" "$tmp/served")" "" "what the .proto files declare is served"
is "$(grep -P '\tclosed\t' "$tmp/list")" "" "no method and no route forgot who may call it"
# The matrix below is generated from the table: that the table itself says the right thing is pinned here, line by line.
is "$(awk -F '\t' '{print $4, $2, $3}' "$tmp/list" | sort | diff "$top/t/data/api-access.txt" -)" "" "each takes what t/data/api-access.txt says: a new one is added there"

service_start || exit
for tenant in mine other off; do
	admin tenant add "$tenant" --tier dedicated >/dev/null || exit
done
new() { admin token create "$@" 2>"$tmp/said"; }
right=$(new mine --scope admin)
read=$(new mine --scope read)
other=$(new other --scope admin)
expired=$(new mine --scope admin --expires 1s)
revoked=$(new mine --scope admin)
admin token revoke "$(grep -o 'tok_[0-9a-f]*' "$tmp/said")" >/dev/null
disabled=$(new off --scope admin)
metrics=$(new --scope metrics)
admin tenant set off --disable >/dev/null
id=$(create r.example/x:1 -H "authorization: Bearer $right")
like "$id" '^build_' "tenant mine has a build"
is_completed() { call GetBuild "{\"buildId\":\"$id\"}" -H "authorization: Bearer $read" | grep -q COMPLETED; }
ok "which is COMPLETED" wait_for 10 is_completed
jq -n --arg build "$id" --arg right "$right" --arg read "$read" --arg other "$other" --arg expired "$expired" --arg revoked "$revoked" \
	--arg disabled "$disabled" --arg metrics "$metrics" '$ARGS.named' >"$tmp/tokens"
sleep 1
timeout 200 "$top/t/lib/api-matrix.py" "$tmp/list" "$base" "$out/api.sock" "$tmp/tokens" >"$tmp/matrix" 2>&1
diag "$(cat "$tmp/matrix")"
like "$(tail -n 1 "$tmp/matrix")" '^[2-9][0-9][0-9] cells, 0 wrong$' "every cell of the matrix is as it must be"
service_stop
is "$service_status" 0 "the service ends"
done_testing
