# SPDX-License-Identifier: GPL-2.0-or-later
# What ./check and ./quickstart share: packages and the build. $top is the source tree.

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

packages_wanted() { # SECTION...: of t/lib/packages
	local section package program
	for section; do
		while read -r package program; do
			[ -n "$program" ] && command -v "$program" >/dev/null || echo "$package"
		done < <(sed -n "s/^$section //p" "$top/t/lib/packages")
	done
}

packages_missing() { # SECTION...
	local have
	have=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
	packages_wanted "$@" | grep -vxF -e "$have"
}

# Install what is missing. Services that come with a package are neither started nor enabled: we start what we need ourselves.
packages_install() { # LOG SECTION...
	local log=$1 list policy=/usr/sbin/policy-rc.d apt
	shift
	list=$(packages_missing "$@")
	[ -n "$list" ] || return 0
	command -v apt-get >/dev/null || die "not a Debian system; needed are: ${list//$'\n'/ }"
	[ "$(id -u)" = 0 ] || die "run as root: these packages are missing: ${list//$'\n'/ }"
	apt="env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3"
	[ -e "$policy" ] && policy=
	[ -z "$policy" ] || printf '#!/bin/sh\nexit 101\n' >"$policy"
	[ -z "$policy" ] || chmod 755 "$policy"
	# shellcheck disable=SC2086 # a list of words
	{ $apt update && $apt install --no-install-recommends $list; } </dev/null >>"$log" 2>&1
	local rc=$?
	[ -z "$policy" ] || rm -f "$policy"
	if grep -qx docker-registry <<<"$list" && [ -d /run/systemd/system ]; then
		systemctl disable -q docker-registry 2>/dev/null
	fi
	[ "$rc" = 0 ] || { tail -n 20 "$log" >&2; die "apt-get could not install: ${list//$'\n'/ }"; }
}

# The files that make up the source tree: from git if this is a clone and git is there, else all but what we made.
tree_files() {
	if [ -e "$top/.git" ] && command -v git >/dev/null; then
		git -c safe.directory="$top" -C "$top" ls-files -co --exclude-standard -z
	else
		(cd "$top" && find . \( -path ./b -o -path ./.git \) -prune -o \( -type f -o -type l \) -print0)
	fi
}

# Copy the sources to DIR/source and build them in DIR/build. The tree itself stays as it is, whatever state it is in; times
# are kept, so a second run compiles only what changed.
tree_build() { # DIR LOG CONFIGURE-OPTION...
	local dir=$1 log=$2 options list
	shift 2
	options="$*"
	mkdir -p "$dir/source" "$dir/build"
	list=$(tree_files | while IFS= read -r -d '' f; do [ -e "$top/$f" ] && printf '%s\n' "$f"; done | sort)
	if [ -e "$dir/files" ]; then # what was deleted since the last run
		comm -13 <(echo "$list") "$dir/files" | (cd "$dir/source" && xargs -r -d '\n' rm -f)
	fi
	echo "$list" >"$dir/files"
	(cd "$top" && tar -cf - -T "$dir/files") | tar -xf - -C "$dir/source" || return 1
	( # no set -e: it does nothing where a caller looks at our result
		cd "$dir/source" || exit
		if [ ! -s configure ] || [ -n "$(find . -name '*.am' -newer configure -o -name configure.ac -newer configure)" ]; then
			autoreconf -fi || exit
			touch configure
			rm -f ../build/config.status
		fi
		cd ../build || exit
		if [ ! -e config.status ] || [ "$(cat options 2>/dev/null)" != "$options" ]; then
			rm -f options
			../source/configure -q "$@" || exit
			echo "$options" >options
		fi
		make -s -j"$(nproc)"
	) </dev/null >"$log" 2>&1
}

elapsed() { # SINCE (of $EPOCHREALTIME): "12.3"
	awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'
}
