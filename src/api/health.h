/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef API_HEALTH_H
#define API_HEALTH_H

#include "api/service.h"

/* Readiness may have changed: tell who watches. ARG is the struct service. */
void health_changed(void *arg);

#endif
