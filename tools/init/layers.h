/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A rootfs whose layers were preserved: each is a directory below /layers, for the kernel's overlayfs. */
#ifndef INIT_LAYERS_H
#define INIT_LAYERS_H

/* Put the layers together and make that the root; what the guest writes goes to /layers/guest of the device. Where
 * there are none nothing happens. Call before anything is mounted. */
void layers_mount(void);
/* Make the device below read-only. */
void layers_end(void);

#endif
