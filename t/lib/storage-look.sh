#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Run as a step of drive-volume (pid $LOOK_PID), so the storage is open: prints what is wrong with it. Nothing may be lost or left over; every
# product is clean, holds a file "a" whose SHA-256 is $LOOK_SUM, and has its metadata; there is no other metadata. Of the products
# "b" and "s" those must be there that $LOOK_DIR/before, what a run said until it was stopped, had acknowledged, and must be gone
# whose deletion it had. $db is volumes.db; which products there are: $LOOK_DIR/products.
. "$(dirname "$0")/thin.sh"
export DM_DISABLE_UDEV=1

storage_settles # what is deleted in the background takes a while
storage_differs
sql "SELECT d.name || ' ' || p.uuid || ' ' || d.id || ' ' || (d.size_bytes / 512) FROM devices d JOIN pools p ON p.id=d.pool
	WHERE d.kind='rootfs' ORDER BY d.name" >"$LOOK_DIR/products"
while read -r build uuid id size; do # by another name: the storage's own may be down
	dmsetup create look --readonly --table "0 $size thin /dev/mapper/builderd-${uuid:0:8}-pool-0 $id" 2>/dev/null || { echo "$build does not come up"; continue; }
	e2fsck -fn /dev/mapper/look >"$LOOK_DIR/fsck" 2>&1 || echo "$build: $(tail -n 1 "$LOOK_DIR/fsck")"
	[ "$(debugfs -R 'cat /a' /dev/mapper/look 2>/dev/null | sha256sum | cut -d' ' -f1)" = "$LOOK_SUM" ] || echo "$build holds something else"
	dmsetup remove --retry look
done <"$LOOK_DIR/products"
seen=
for fd in /proc/$LOOK_PID/fd/*; do
	[ -d "$fd/metadata" ] || continue
	seen=1
	ls "$fd/metadata" | diff - <(sed 's/ .*/.json/' "$LOOK_DIR/products") | sed -n 's/^[<>]/metadata: &/p'
done
[ -n "$seen" ] || [ ! -s "$LOOK_DIR/products" ] || echo "there is no cache"

case $(grep -o '^/dev/mapper\|^shared\|^opened\|^freed' "$LOOK_DIR/before" | paste -sd' ') in
'') want='|b' ;;
/dev/mapper) want='b|b s' ;;
'/dev/mapper shared') want='b s' ;;
*opened) want='b s|s' ;;
*'opened freed') want='s|' ;;
*) want='' ;;
esac
products=$(cut -d' ' -f1 "$LOOK_DIR/products" | paste -sd' ')
[[ "|$want|" == *"|$products|"* ]] || echo "there are \"$products\", wanted: \"$want\""
exit 0
