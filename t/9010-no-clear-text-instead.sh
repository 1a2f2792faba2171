#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A pool that is configured and cannot be used stops the start: tenants are never stored in clear text in its place.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
leaks_begin
set_env() {
	env UNKEY_BUILDERD_STATE_DIR="$tmp/state" UNKEY_BUILDERD_DM_DATA_DEVICE=/dev/nowhere "$@"
}
fails "builderd refuses to start" set_env timeout 20 "$build/builderd"
like "$(set_env timeout 20 "$build/builderd" 2>&1)" "no storage backend for this host: .+" "and says why"
fails "--check-host says so before" set_env "$build/builderd" --check-host
like "$(set_env "$build/builderd" --check-host)" "backend that would be used: none" "with the same words"
ok "without a pool it takes what there is" builderd_start
builderd_stop
leaks_end
done_testing
