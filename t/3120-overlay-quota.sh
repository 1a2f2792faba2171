#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fs in overlay mode: the quota, by the test of the flat mode.
fs_mode=-L
. "$(dirname "$0")/3020-fs-quota.sh"
