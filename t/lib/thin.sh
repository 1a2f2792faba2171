# SPDX-License-Identifier: GPL-2.0-or-later
# What lies in the storage of the dm backend, against what volumes.db says. For tests in the guest; set $db first, and have the
# storage open.
#
#   sql STATEMENT     reads volumes.db
#   storage_differs   prints what is missing and what is left over: nothing, if all is well
#   storage_settles   waits until nothing differs: what is deleted in the background takes a while
#   semaphores        how many System V semaphores there are: a udev cookie is one

sql() {
	sqlite3 -readonly "$db" "$1"
}

# Lines: "+ GROUP|THING" must be there while the device GROUP is up ("": always), "? THING" may be, "! TEXT" is wrong in any case.
# A thing is "device NAME" that is up, or "id POOL ID" in a pool's own metadata. A product is up when somebody asked for it, a
# tenant's storage while it is used.
storage_wanted() {
	sql "WITH outer AS (SELECT substr(uuid, 1, 8) AS name FROM pools WHERE tenant=''),
		p AS (SELECT p.id, substr(p.uuid, 1, 8) AS name, iif(tenant='', '', printf('builderd-%s-crypt-%x', outer.name, d.id)) AS crypt
			FROM pools p LEFT JOIN devices d ON d.kind='tenant' AND d.name=p.tenant JOIN outer)
		SELECT '+ ' || crypt || '|device builderd-' || name || part FROM p, (SELECT '-meta-0' AS part UNION SELECT '-data-0' UNION SELECT '-pool-0')
		UNION SELECT printf('+ %s|device builderd-%s-cache-%x', crypt, p.name, d.id) FROM devices d JOIN p ON p.id=pool WHERE kind='cache'
		UNION SELECT printf('+ %s|id %s %u', crypt, p.name, d.id) FROM devices d JOIN p ON p.id=pool
		UNION SELECT '? device ' || crypt FROM p
		UNION SELECT printf('? device builderd-%s-%s-%x', p.name, kind, d.id) FROM devices d JOIN p ON p.id=pool WHERE kind IN ('tenant', 'rootfs', 'vm')
		UNION SELECT '! open transaction' FROM intents
		UNION SELECT '! unfinished ' || kind || ' ' || name FROM devices WHERE kind IN ('build', 'dead') OR NOT is_ready
		UNION SELECT '! no device for rootfs ' || build FROM rootfs WHERE build NOT IN (SELECT name FROM devices WHERE kind='rootfs')
		UNION SELECT '! no row for rootfs ' || name FROM devices WHERE kind='rootfs' AND name NOT IN (SELECT build FROM rootfs)"
}

storage_found() {
	local name
	dmsetup ls | sed -n 's/^\(builderd-[^ \t]*\).*/device \1/p'
	for name in $(dmsetup ls --target thin-pool | sed -n 's/^\(builderd-[^ \t]*\).*/\1/p'); do
		dmsetup message "$name" 0 reserve_metadata_snap
		thin_ls -m --no-headers -o DEV "/dev/mapper/${name/-pool-/-meta-}" | sed "s/^ */id ${name:9:8} /; s/ *$//"
		dmsetup message "$name" 0 release_metadata_snap
	done
}

storage_differs() {
	{ storage_found; storage_wanted; } | awk '
		/^(device|id) / { found[$0] }
		/^! / { print }
		/^\? / { known[substr($0, 3)] }
		/^\+ / { split(substr($0, 3), w, "|"); known[w[2]]; if (w[1] == "" || "device " w[1] in found) must[w[2]] }
		END { for (x in must) if (!(x in found)) print "missing: " x; for (x in found) if (!(x in known)) print "left over: " x }'
}

storage_settles() {
	local end=$((SECONDS + 180)) # a gibibyte goes in pieces, with pauses
	while [ -n "$(storage_differs)" ]; do
		[ "$SECONDS" -lt "$end" ] || return
		sleep 0.2
	done
}

semaphores() {
	ipcs -s | grep -c '^0x'
}
