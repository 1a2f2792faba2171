#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fs in overlay mode: POSIX, by the test of the flat mode.
fs_mode=-L
. "$(dirname "$0")/3010-fs-posix.sh"
