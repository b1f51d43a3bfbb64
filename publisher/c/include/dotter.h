/* dotter.h: puts numbers where everybody can see them, at the price of one memory write.
 *
 *     struct dotter *publisher = dotter_open("shop");
 *     const struct dotter_series *latency = dotter_series(publisher, "shop.checkout.latency");
 *     dotter_dot(latency, 12.5);
 *     dotter_close(publisher);
 *
 * Build with -ldotter, or with libdotter.a and -lpthread -ldl -lm.
 *
 * What always holds:
 *
 * - Every function may be called from any thread at any time, but for dotter_close. Each thread writes to a
 *   lane of its own, which the next one takes over when it ends.
 * - A dot never blocks and never fails: one that cannot be written is counted as refused, see dotter_counts.
 *   It makes no system call but for the first of a thread and once in 20 ms.
 * - A signal handler may call dotter_dot and dotter_dot_at, and nothing else here, on a thread that has
 *   published to the same publisher before: the first dot of a thread allocates.
 * - A forked child has a ring of its own from its first dot on, with the same series.
 * - NULL where something must be is an error and nothing else. What fails gives NULL or a number below zero;
 *   dotter_last_error says what it was. A publisher or series that is NULL because making it failed leaves
 *   what it says as it is, so one look at the end of a few calls is enough.
 * - Texts are UTF-8 and end with a zero byte; nothing keeps the pointer to one.
 */
#ifndef DOTTER_H
#define DOTTER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header; dotter_abi() is the library's. Where they differ the two do not belong together. */
#define DOTTER_ABI 1u

/* What a call gives that did what it should. */
#define DOTTER_OK 0
/* A pointer is NULL that must not be. */
#define DOTTER_NULL (-1)
/* A text is not UTF-8, or no name of a series or an application. */
#define DOTTER_TEXT (-2)
/* A size that cannot be. */
#define DOTTER_SIZE (-3)
/* A living process publishes under that name. */
#define DOTTER_OWNED (-4)
/* What stands there is no ring, or somebody else's. */
#define DOTTER_FILE (-5)
/* The system said no: no room, no permission, ... */
#define DOTTER_SYSTEM (-6)
/* A mistake in libdotter. */
#define DOTTER_BUG (-7)

/* One application's way to publish. */
struct dotter;

/* Where dots of one name go. It belongs to its publisher and lives as long. */
struct dotter_series;

/* How a ring is to be made. Zero and NULL leave things as they are.
 *
 *     struct dotter_options options = DOTTER_OPTIONS;
 *     options.application = "shop";
 *     struct dotter *publisher = dotter_open_with(&options);
 */
struct dotter_options {
    uint32_t struct_bytes;   /* sizeof(struct dotter_options) */
    uint32_t lanes_max;      /* threads with a lane of their own, and one for all others: 64 */
    uint64_t lane_dots;      /* dots a lane holds before the oldest are overwritten, rounded up: 258048 */
    uint64_t registry_bytes; /* for the names of series: 1 MiB, about 20000 names */
    const char *application; /* who publishes, 1 to 64 bytes without a slash: the program's name */
    const char *path;        /* a directory of rings, or the exact name of this one: the default directory */
};

#define DOTTER_OPTIONS {(uint32_t)sizeof(struct dotter_options), 0, 0, 0, NULL, NULL}

/* What became of the dots so far. */
struct dotter_counts {
    uint64_t struct_bytes;           /* sizeof(struct dotter_counts), set by the caller */
    uint64_t published;              /* dots written */
    uint64_t refused_series;         /* the ring had no room for the name of their series */
    uint64_t refused_signal_handler; /* from a handler that interrupted another dot of its thread */
    uint64_t refused_too_big;        /* do not fit into a block */
    uint64_t refused_other;          /* there was no ring to write to */
};

#define DOTTER_COUNTS {sizeof(struct dotter_counts), 0, 0, 0, 0, 0}

#if defined(__cplusplus)
#define DOTTER_ASSERT_(holds, why) static_assert(holds, why)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define DOTTER_ASSERT_(holds, why) _Static_assert(holds, why)
#else
#define DOTTER_ASSERT_(holds, why) extern int dotter_assert_[(holds) ? 1 : -1]
#endif

#if UINTPTR_MAX == UINT64_MAX
DOTTER_ASSERT_(sizeof(struct dotter_options) == 40, "options have the library's size");
DOTTER_ASSERT_(offsetof(struct dotter_options, lanes_max) == 4, "options lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_options, lane_dots) == 8, "options lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_options, registry_bytes) == 16, "options lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_options, application) == 24, "options lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_options, path) == 32, "options lie as in the library");
#endif
DOTTER_ASSERT_(sizeof(struct dotter_counts) == 48, "counts have the library's size");
DOTTER_ASSERT_(offsetof(struct dotter_counts, published) == 8, "counts lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_counts, refused_series) == 16, "counts lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_counts, refused_signal_handler) == 24, "counts lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_counts, refused_too_big) == 32, "counts lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_counts, refused_other) == 40, "counts lie as in the library");
DOTTER_ASSERT_(sizeof(double) == 8, "values are doubles of 64 bits");

/* Publishes as `application` (NULL: the program's name) in $DOTTER_DIR, else /run/dotter, else
 * /dev/shm/dotter-UID, where a broker without arguments looks. NULL where that fails. */
struct dotter *dotter_open(const char *application);

/* Publishes at `path`, a directory (one that exists, or a path that ends in a slash) or an exact name, in
 * lanes of `dots` dots, rounded up: 4032 at least. NULL where that fails; DOTTER_OWNED where a living
 * process publishes under that exact name. */
struct dotter *dotter_create(const char *path, uint64_t dots);

/* All the choices there are. NULL where that fails. */
struct dotter *dotter_open_with(const struct dotter_options *options);

/* The series of that name, 1 to 4096 bytes, tags as in "disk.used;host=a": new or known, each time the same
 * pointer. Keep it: this is the expensive part of a dot. NULL where the text is no name. Where the ring has
 * no room for another name, dots on it are counted as refused. */
const struct dotter_series *dotter_series(struct dotter *publisher, const char *name);

/* The same, and says what the values are measured in: for the page, changes nothing else. */
const struct dotter_series *dotter_series_with_unit(struct dotter *publisher, const char *name,
                                                    const char *unit);

/* Publishes a value, now. DOTTER_OK also where it was counted as refused, DOTTER_NULL where `series` is. */
int dotter_dot(const struct dotter_series *series, double value);

/* Publishes a value of another time, in nanoseconds since 1970. */
int dotter_dot_at(const struct dotter_series *series, uint64_t nanoseconds, double value);

/* What became of the dots so far. The struct says how large it is before:
 * struct dotter_counts counts = DOTTER_COUNTS; */
int dotter_counts(const struct dotter *publisher, struct dotter_counts *counts);

/* The name of the ring's file, as far as it fits into `buffer`, always with a zero byte behind it. Gives its
 * length, as snprintf does; NULL and 0 only ask for that. */
int dotter_path(const struct dotter *publisher, char *buffer, size_t bytes);

/* Says that nothing follows, and frees the publisher and all its series: no thread may use them any more.
 * NULL is nothing to close. A program that ends without it loses no dot. */
int dotter_close(struct dotter *publisher);

/* The number of this thread's last error; DOTTER_OK before the first. */
int dotter_last_code(void);

/* This thread's last error in words, empty before the first; good until the thread's next one. */
const char *dotter_last_error(void);

/* The library's version, as in "0.1.0". */
const char *dotter_version(void);

/* The library's DOTTER_ABI. */
uint32_t dotter_abi(void);

#ifdef __cplusplus
}
#endif

#endif
