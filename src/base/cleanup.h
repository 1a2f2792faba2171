/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scope-bound ownership with GNU cleanup: AUTO_FREE char *p; AUTO_CLOSE int fd = -1; return STEAL_FD(&fd); */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <dirent.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

/* Closes *FD if it is >= 0 and sets it to -1; errno is kept. */
static inline void cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
		*fd = -1;
	}
}

static inline void cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define AUTO_FREE __attribute__((cleanup(cleanup_free)))
#define AUTO_CLOSE __attribute__((cleanup(cleanup_close)))
#define AUTO_FILE __attribute__((cleanup(cleanup_file)))
#define AUTO_DIR __attribute__((cleanup(cleanup_dir)))
/* AUTO(foo_cleanup) struct foo *p: foo_cleanup takes struct foo **. */
#define AUTO(fn) __attribute__((cleanup(fn)))

/* Take the value out of *P and leave NULL (-1 for a descriptor) behind. */
#define STEAL(p)                                                                                                       \
	({                                                                                                             \
		typeof(*(p)) steal_v_ = *(p);                                                                          \
		*(p) = NULL;                                                                                           \
		steal_v_;                                                                                              \
	})
#define STEAL_FD(p)                                                                                                    \
	({                                                                                                             \
		int steal_v_ = *(p);                                                                                   \
		*(p) = -1;                                                                                             \
		steal_v_;                                                                                              \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
