#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# TLS_PROXY: with tokens builderd listens on any address, and serves the proxy and loopback only.
# In a network namespace of its own, which has the addresses.
if [ -z "${IN_NETNS:-}" ] && [ "$(id -u)" = 0 ]; then
	IN_NETNS=1 exec unshare -n -- bash "$0" "$@"
fi
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/service.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
ip link set lo up || exit
for address in 192.0.2.1 192.0.2.7 192.0.2.77 192.0.2.8; do
	ip addr add "$address/32" dev lo || exit
done
from() { # ADDRESS: the answer to one who comes from there
	curl -sS -m 10 --interface "$1" "http://192.0.2.1:$(cat "$out/port")/livez" 2>&1
}

export UNKEY_BUILDERD_AUTH=token UNKEY_BUILDERD_TLS_PROXY=192.0.2.7,192.0.2.9 service_address=0.0.0.0
service_start || exit
is "$(from 192.0.2.7)" ok "the proxy is served"
unlike "$(from 192.0.2.8)" '^ok' "another address is not"
unlike "$(from 192.0.2.77)" '^ok' "nor is one that begins like it"
is "$(curl -sS -m 10 "$base/livez")" ok "loopback is"
service_stop

unset UNKEY_BUILDERD_TLS_PROXY
rm -f "$out/port"
fails "without it the service does not start" service_start
like "$(tail -n 5 "$tmp/service.log")" 'tokens would cross the network in clear text' "and says why"
done_testing
