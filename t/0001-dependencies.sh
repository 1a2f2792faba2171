#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The house rules that a machine can hold (doc/architecture.md, doc/conventions.md). Each rule prints what breaks it.
. "$(dirname "$0")/lib/tap.sh"
cd "$top" || exit

# Folder -> folders whose headers it may include besides its own.
declare -A may_include=(
	[src/base]=""
	[src/digest]="base"
	[src/json]="base"
	[src/ipc]="base digest"
	[src/sandbox]="base ipc"
	[src/build]="base digest ipc"
	[src/store]="base digest ipc build"
	[proto]="base digest json ipc build"
	[dm]="base digest ipc build"
	[fuse]="base digest ipc sandbox build"
	[src/fetch]="base digest json ipc sandbox build"
	[src/unpack]="base digest json ipc sandbox build"
	[src/api]="base digest json ipc sandbox build store proto"
	[src/monitor]="base digest ipc sandbox build dm"
	[tools]="base digest json ipc build proto"
	[tools/volume]="base digest json ipc build dm tools"
)

# Foreign header (a prefix) -> folders where one source file may include it.
# (protobuf-c is left out: the generated code spreads it.)
declare -A owner=(
	[archive]="" [curl/]="src/fetch tools" [fuse]="fuse" [isa-l]="src/unpack" [jansson]="src/json"
	[nghttp2/]="src/api" [openssl/]="src/digest src/api dm" [seccomp]="src/sandbox" [sqlite3]="src/store dm"
	[zlib]="src/unpack src/api" [zstd]="src/unpack" [libdevmapper]="dm" [libcryptsetup]="dm"
)

# Program -> shared libraries that it may name itself (readelf's NEEDED).
declare -A may_link=(
	[builderd]="crypto cryptsetup devmapper seccomp sqlite3" # volumes: LUKS2 headers and SQLite files of its own
	[builderd-api]="crypto ssl seccomp jansson nghttp2 protobuf-c sqlite3 z"
	[builderd-fetch]="crypto seccomp jansson curl"
	[builderd-unpack]="crypto seccomp jansson zstd z isal"
	[builderd-fs]="crypto seccomp fuse3"
	[builder-volume]="crypto cryptsetup devmapper jansson sqlite3"
	[builderctl]="crypto jansson curl protobuf-c"
	[metald-init]=""
)

sources() { # ENDING...: of our own C, not what protoc-c made
	local ending
	for ending; do
		find src fuse dm proto tools t -name "*.$ending" ! -name '*.pb-c.?'
	done | sort
}

includes_point_down() {
	local folder file name from
	for file in $(sources c h); do
		folder=${file%/*}
		[[ $folder != t/* && $folder != t ]] || continue
		while [[ -z ${may_include[$folder]+x} && $folder == */* ]]; do
			folder=${folder%/*}
		done
		[ -n "${may_include[$folder]+x}" ] || { echo "$file: no rule for its folder"; continue; }
		for name in $(sed -n 's/^# *include "\(.*\)".*/\1/p' "$file"); do
			[[ $name == */* ]] || continue # config.h, generated code
			from=${name%%/*}
			[[ " ${may_include[$folder]} ${folder##*/} " == *" $from "* ]] || echo "$file: includes $name"
		done
	done
}

owners_are_single() {
	local prefix folder files
	for prefix in "${!owner[@]}"; do
		files=$(sources c h | grep -v '^t/' | xargs grep -lE "^# *include <${prefix}[a-z0-9_/-]*\.h>")
		for folder in ${owner[$prefix]}; do
			[ "$(grep -c "^$folder/" <<<"$files")" -le 1 ] ||
				echo "<$prefix> in several files: $(grep "^$folder/" <<<"$files" | tr '\n' ' ')"
			files=$(grep -v "^$folder/" <<<"$files")
		done
		[ -z "$files" ] || echo "<$prefix> outside its owner: ${files//$'\n'/ }"
	done
}

headers_stand_alone() {
	local flags header
	flags="-std=gnu17 -Wall -Wextra -Wno-unused-parameter -Werror -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64"
	flags+=" -I$build -I$build/proto -I$top/src -I$top $(pkg-config --cflags fuse3 libarchive libprotobuf-c)"
	for header in $(sources h | grep -v '^t/'); do
		# shellcheck disable=SC2086
		echo "#include \"$top/$header\"" |
			${CC:-cc} $flags -include "$build/config.h" -x c -fsyntax-only - 2>&1 | head -n 3
	done
}

links_are_listed() {
	local program lib
	for program in "${!may_link[@]}"; do
		[ -e "$build/$program" ] || { echo "$program: not built"; continue; }
		for lib in $(readelf -d "$build/$program" | sed -n 's/.*(NEEDED).*\[lib\([^]]*\)\.so.*/\1/p'); do
			[[ " ${may_link[$program]} c m asan ubsan " == *" $lib "* ]] || echo "$program: links lib$lib"
		done
	done
}

# The privileged process, everything that it drags in included. libcrypto hashes; nothing in it parses.
builderd_is_lean() {
	ldd "$build/builderd" | grep -E 'lib(curl|archive|nghttp2|jansson|ssl|fuse|protobuf|xml2|zstd|isal)' | sed 's/^/builderd: /'
}

init_is_static() {
	file "$build/metald-init" | grep -qE 'static(ally|-pie) linked' || file "$build/metald-init"
}

has_licence() {
	local file
	for file in $(sources c h py sh am proto) configure.ac Makefile.am */Makemodule.am src/*/Makemodule.am check quickstart systemd/*.*; do
		head -n 5 "$file" | grep -q 'SPDX-License-Identifier: GPL-2.0-or-later' || echo "$file"
	done
}

files_are_short() {
	sources c h py sh | xargs wc -l | awk '$2 != "total" && $1 > 700 {print $2 ": " $1 " lines"}'
}

functions_are_short() { # by the layout that clang-format gives: a body is ^{ to ^}
	sources c | xargs awk '
		/^{/ {start = FNR}
		/^}/ && start {if (FNR - start > 100) print FILENAME ":" start ": " FNR - start " lines"; start = 0}'
}

nothing_is_unfinished() {
	find src fuse dm proto tools t doc systemd README.md check quickstart configure.ac -type f ! -name '*.o' ! -name '*.a' \
		! -path '*/.deps/*' ! -name "$(basename "$0")" -print0 |
		xargs -0 grep -InwE 'TODO|FIXME|XXX|TBD|WIP|HACK|stub' | grep -v 'stub-resolv\.conf' | cut -c 1-160
}

layout_is_known() {
	local known="configure.ac Makefile.am README.md COPYING src fuse dm proto systemd tools t doc quickstart check"
	local made="Makefile Makefile.in aclocal.m4 autom4te.cache build-aux config.h config.h.in config.h.in~ config.log config.status
		configure configure~ stamp-h1 b libbase.a"
	local name
	for name in *; do
		[[ " $known " == *" $name "* || " ${made//[$'\n\t']/ } " == *" $name "* ]] && continue
		# built in place: programs and libraries that the Makefile names
		[[ -e Makefile && ($name == lib*.a || $name == build* || $name == metald-init) ]] || echo "$name"
	done
}

layout_is_formatted() {
	sources c h | xargs clang-format --dry-run 2>&1 | grep -E 'warning:|error:' | cut -d: -f1 | sort | uniq -c
}

scripts_parse() {
	local file
	for file in check quickstart .ci/run $(sources sh); do
		bash -n "$file" 2>&1
	done
}

is "$(includes_point_down)" "" "includes point down only"
is "$(owners_are_single)" "" "one file owns each foreign library"
is "$(headers_stand_alone)" "" "each header compiles alone"
is "$(links_are_listed)" "" "each program links what its trust level may"
is "$(builderd_is_lean)" "" "builderd pulls in no parser of hostile bytes"
is "$(init_is_static)" "" "the init of a rootfs is static"
is "$(has_licence)" "" "each source file names its licence"
is "$(files_are_short)" "" "no file has more than 700 lines"
is "$(functions_are_short)" "" "no function has more than 100 lines"
is "$(nothing_is_unfinished)" "" "no unfinished words"
is "$(layout_is_known)" "" "nothing unknown lies at the top"
is "$(layout_is_formatted)" "" "the layout is .clang-format's"
is "$(scripts_parse)" "" "scripts parse"
done_testing
