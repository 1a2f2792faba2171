/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows and live state as messages of the API. What is returned is the caller's: protobuf_c_message_free_unpacked. */
#ifndef API_PRESENT_H
#define API_PRESENT_H

#include "api/jobs.h"
#include "builder.pb-c.h"

enum { PRESENT_METADATA = 1, PRESENT_LOGS = 2, PRESENT_ALL = 3 };

/* NULL for 0 ms. */
Google__Protobuf__Timestamp *present_time(int64_t ms);
/* "2025-01-31T12:00:00.250Z" */
const char *present_time_text(int64_t ms, char out[32]);
/* Lists leave metadata and logs out: they may be a megabyte each. */
Builder__V1__BuildJob *present_job(const struct jobs *js, const struct job *j, unsigned parts);
void present_job_free(Builder__V1__BuildJob *m);
/* What is limited and enforced; what is not is left out. */
Builder__V1__TenantResourceLimits *present_limits(const struct tenant_policy *p, const struct config *c);

#endif
