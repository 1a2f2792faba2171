#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Finished builds are deleted STORAGE_RETENTION_DAYS after their end, their products with them; younger ones stay.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
leaks_begin
export UNKEY_BUILDERD_STORAGE_RETENTION_DAYS=7
ok "the service starts" service_start
old=$(create r.example/x:1) failed=$(create r.example/fail:1) young=$(create r.example/x:2)
wait_state "$old" COMPLETED
wait_state "$failed" FAILED
wait_state "$young" COMPLETED
service_stop
/usr/bin/python3 - "$state/jobs/jobs.db" "$old" "$failed" "$young" <<'P'
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1])
day = 24 * 3600 * 1000
for build, days in zip(sys.argv[2:], (7.1, 400, 6.9)):
    db.execute("UPDATE jobs SET completed_ms=? WHERE build_id=?", (int(time.time() * 1000 - days * day), build))
db.commit()
P
ok "the service starts again, days later" service_start
gone() {
	call GetBuild "{\"buildId\":\"$1\"}" | grep -q not_found
}
ok "one that ended a week ago is deleted" wait_for 20 gone "$old"
ok "a failed one, too" wait_for 20 gone "$failed"
fails "its product is gone" test -e "$out/$old.ext4"
like "$(call GetBuild "{\"buildId\":\"$young\"}")" BUILD_STATE_COMPLETED "a younger one is there"
ok "and its product" test -e "$out/$young.ext4"
like "$(cat "$tmp/service.log")" "it ended long ago.*build=$old .*retention_days=7" "the log says why"
service_stop
is "$service_status" 0 "the service ends"
leaks_end
done_testing
