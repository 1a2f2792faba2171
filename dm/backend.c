/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dm/backend.h"

#include <string.h>

const struct volume_ops *const backends[BACKENDS] = {&volume_dm_ops, &volume_file_ops};

struct store_options backend_options(const struct config *c)
{
	return (struct store_options){.state_dir = c->state_dir,
	        .fetch_uid = CONFIG_UID_FETCH(c),
	        .cache_max_bytes = c->cache_max_size_gb << 30,
	        .jail_dir = c->jail_dir,
	        .dm_data_device = c->dm_data_device,
	        .dm_metadata_device = c->dm_metadata_device,
	        .dm_loop_file = c->dm_loop_file,
	        .dm_loop_bytes = c->dm_loop_size_gb << 30,
	        .dm_master_key_file = c->dm_master_key_file,
	        .dm_tenant_bytes = c->dm_tenant_size_gb << 30,
	        .dm_verity = c->dm_verity,
	        .dm_tenant_idle_ms = c->dm_tenant_idle_minutes * 60 * 1000,
	        .dm_forbids_discards = !c->dm_allow_discards};
}

bool backend_is_wanted(const struct config *c, const struct volume_ops *ops)
{
	const char *want = c->storage_backend;

	if (!strcmp(want, "auto") && (c->dm_data_device[0] || c->dm_loop_file[0]))
		want = "dm";
	return !strcmp(want, "auto") || !strcmp(want, ops->name);
}
