#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A tenant of a real builderd: record, token, build, artifact, deletion; and the audit log of it.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
leaks_begin
image_make hello --cmd /hello layer d:etc f:etc/hello=world >/dev/null
ok "builderd starts with tokens" builderd_start AUTH=token
export BUILDERD_SOCKET=$state/api.sock
unset BUILDERD_TOKEN BUILDERD_TENANT
like "$(builder build oci:layout:hello 2>&1)" 'a token is needed.*BUILDERD_TOKEN' "without a token builderctl says what is missing"
ok "a tenant" builder tenant add acme --tier pro
BUILDERD_TOKEN=$(builder token create acme --scope admin 2>/dev/null)
export BUILDERD_TOKEN
ok "its build" builder build oci:layout:hello --artifact "$tmp/rootfs.ext4"
ok "whose artifact is a file system" e2fsck -fn "$tmp/rootfs.ext4"
id=$(builder --json ls | jq -r '.builds[0].buildId')
like "$(builder --json status "$id" | jq -c '.build.config.tenant')" '"tenantId":"acme".*"tier":"TENANT_TIER_PRO"' "is the record's"
like "$(builder tenant show acme)" 'builds +0 running, 0 waiting, 1 today' "and counted"
ok "a copy of the job store" builder store backup "$tmp/copy.db"
ok "it is deleted" builder rm "$id"
like "$(builder tenant show acme)" 'stored +0 B' "which gives the space back"
is "$(jq -r "select(.build == \"$id\") | .event + \" \" + .outcome" "$state"/audit/* | tr '\n' ',')" \
	"quota_check allowed,build_start allowed,build_complete allowed,storage_access allowed,storage_access allowed," "its life in the audit log"
ok "which verifies to its end" builder audit verify --end "$(builder audit end)" "$state"/audit/*
ok "builderd stops" builderd_stop
leaks_end
done_testing
