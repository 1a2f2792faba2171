#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The message table of doc/ipc.md is the one that the programs hold each other to.
. "$(dirname "$0")/lib/tap.sh"

code=$(sed -n 's/^\tX(\([A-Z_]*, "[a-z-]*".*\)) *\\*$/\1/p' "$top/src/ipc/message.h" | awk -F ', *' '
	BEGIN {
		split("MSG_STATE_NEW=new MSG_STATE_RUNNING=running MSG_STATE_PLANNED=planned MSG_NR=new,running MSG_RP=running,planned MSG_NRP=new,running,planned", s, " ")
		for (i in s) { eq = index(s[i], "="); state[substr(s[i], 1, eq - 1)] = substr(s[i], eq + 1) }
	}
	{
		gsub(/"/, "", $2); sub(/ROLE_/, "", $3); from = tolower($3); sub(/monitor/, "builderd", from)
		print $2, from, state[$4], $5 == "true" ? "yes" : "no", $7 == $8 ? $7 : $7 "–" $8
	}')
pages=$(awk -F ' *[|] *' '/^\| [a-z]+-?[a-z]* \| (builderd|api|fetch|unpack|fs|admin) \|/ {
	gsub(/, /, ",", $4); print $2, $3, $4, $5 == "yes" ? "yes" : "no", $6}' "$top/doc/ipc.md")
like "$(wc -l <<<"$code")" '^[3-9][0-9]$' "the table can be read from the header"
is "$(diff <(echo "$code") <(echo "$pages"))" "" "header and page say the same"
done_testing
