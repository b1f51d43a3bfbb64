/* dotter.h: puts numbers where everybody can see them, at the price of one memory write.
 *
 *     struct dotter *publisher = dotter_open("shop");
 *     const struct dotter_series *latency = dotter_series(publisher, "shop.checkout.latency");
 *     dotter_dot(latency, 12.5);
 *     dotter_close(publisher);
 *
 * Build with `pkg-config --cflags --libs dotter`: that is -ldotter, or libdotter.a and -lpthread -ldl -lm. Who would
 * rather write the file than call a library finds its bytes in dotter_ring.h.
 *
 * What always holds:
 *
 * - Every function may be called from any thread at any time, but for dotter_close, and for those of a lane
 *   that somebody holds. Each thread writes to a lane of its own, which the next one takes over when it ends.
 * - A dot never blocks and never fails: one that cannot be written is counted as refused, see dotter_counts.
 *   It makes no system call but for the first of a thread and once in 20 ms.
 * - A signal handler may publish: dots, lines, cells, counts, and nothing else here, on a thread that has
 *   published to the same publisher before: the first dot of a thread allocates.
 * - A forked child has a ring of its own from its first dot on, with the same series.
 * - Nothing is thrown and nothing unwinds out of here. NULL where something must be is an error and nothing
 *   else, and so is a pointer to something else that came from here. What fails gives NULL or a number below
 *   zero; dotter_last_error says what it was. A publisher or series that is NULL because making it failed
 *   leaves what it says as it is, so one look at the end of a few calls is enough.
 * - Names, units and paths end with a zero byte, texts are UTF-8; nothing keeps the pointer to one.
 */
#ifndef DOTTER_H
#define DOTTER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header; dotter_abi() is the library's. Where they differ the two do not belong together. */
#define DOTTER_ABI 2u

/* What a call gives that did what it should. */
#define DOTTER_OK 0
/* A pointer is NULL that must not be. */
#define DOTTER_NULL (-1)
/* A text is not UTF-8, or no name of a series or an application. */
#define DOTTER_TEXT (-2)
/* A size that cannot be: of a struct, of a lane, of a row. */
#define DOTTER_SIZE (-3)
/* A living process publishes under that name. */
#define DOTTER_OWNED (-4)
/* What stands there is no ring, or somebody else's. */
#define DOTTER_FILE (-5)
/* The system said no: no room, no permission, ... */
#define DOTTER_SYSTEM (-6)
/* A mistake in libdotter. */
#define DOTTER_BUG (-7)
/* Letters or columns that cannot be. */
#define DOTTER_COLUMNS (-8)
/* The pointer is to something else: a series of other numbers, a lane, something that is closed. */
#define DOTTER_HANDLE (-9)
/* A signal handler asks for the lane that it interrupted. */
#define DOTTER_BUSY (-10)

/* One application's way to publish. */
struct dotter;

/* Where numbers of one name go. It belongs to its publisher and lives as long, as the next three do. */
struct dotter_series;

/* Where lines of text of one name go. */
struct dotter_text;
/* Where raw bytes of one name go. */
struct dotter_bytes;

/* Where rows of one name go: several numbers at one time, each in a column with a name. */
struct dotter_row;

/* How many there were of something. */
struct dotter_counter;

/* A lane in the hands of one thread. */
struct dotter_lane;

/* One number of a row, as the letter of its column says. */
union dotter_cell {
    double f64;   /* 'F' */
    float f32;    /* 'f' */
    int64_t i64;  /* 'I' */
    uint64_t u64; /* 'U' */
    int32_t i32;  /* 'i' */
    uint32_t u32; /* 'u' */
};

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
    uint64_t dead_bytes_max; /* what dead rings at the same place may take, the oldest go first: 1 GiB */
    const char *application; /* who publishes, 1 to 64 bytes without a slash: the program's name */
    const char *path;        /* a directory of rings, or the exact name of this one: the default directory */
    const char *instance;    /* which of several processes of the application this is, "worker-3": every series
                                has it as its tag `instance`, unless its name says another. None */
};

#define DOTTER_OPTIONS {(uint32_t)sizeof(struct dotter_options), 0, 0, 0, 0, NULL, NULL, NULL}

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
DOTTER_ASSERT_(sizeof(struct dotter_options) == 56, "options have the library's size");
DOTTER_ASSERT_(offsetof(struct dotter_options, lanes_max) == 4, "options lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_options, lane_dots) == 8, "options lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_options, registry_bytes) == 16, "options lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_options, dead_bytes_max) == 24, "options lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_options, application) == 32, "options lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_options, path) == 40, "options lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_options, instance) == 48, "options lie as in the library");
#endif
DOTTER_ASSERT_(sizeof(struct dotter_counts) == 48, "counts have the library's size");
DOTTER_ASSERT_(offsetof(struct dotter_counts, published) == 8, "counts lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_counts, refused_series) == 16, "counts lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_counts, refused_signal_handler) == 24, "counts lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_counts, refused_too_big) == 32, "counts lie as in the library");
DOTTER_ASSERT_(offsetof(struct dotter_counts, refused_other) == 40, "counts lie as in the library");
DOTTER_ASSERT_(sizeof(double) == 8 && sizeof(float) == 4, "numbers have the library's sizes");
DOTTER_ASSERT_(sizeof(union dotter_cell) == 8, "cells have the library's size");

/* ---- the publisher ---- */

/* Publishes as `application` (NULL: the program's name) in $DOTTER_DIR, else /run/dotter, else
 * /dev/shm/dotter-UID, where a broker without arguments looks. NULL where that fails. */
struct dotter *dotter_open(const char *application);

/* Publishes at `path`, a directory (one that exists, or a path that ends in a slash) or an exact name, in
 * lanes of `dots` dots, rounded up: 4032 at least. NULL where that fails; DOTTER_OWNED where a living
 * process publishes under that exact name. */
struct dotter *dotter_create(const char *path, uint64_t dots);

/* All the choices there are. NULL where that fails. */
struct dotter *dotter_open_with(const struct dotter_options *options);

/* What became of the dots so far. The struct says how large it is before:
 * struct dotter_counts counts = DOTTER_COUNTS; */
int dotter_counts(const struct dotter *publisher, struct dotter_counts *counts);

/* The name of the ring's file, as far as it fits into `buffer`, always with a zero byte behind it. Gives its
 * length, as snprintf does; NULL and 0 only ask for that. */
int dotter_path(const struct dotter *publisher, char *buffer, size_t bytes);

/* Says that nothing follows, and frees the publisher and all that belongs to it: no thread may use any of
 * it any more. A lane that somebody holds keeps the ring open until it is closed, too. NULL is nothing to
 * close. A program that ends without it loses no dot. */
int dotter_close(struct dotter *publisher);

/* ---- numbers ---- */

/* The series of that name, 1 to 4096 bytes, tags as in "disk.used;host=a": new or known, each time the same
 * pointer. Keep it: this is the expensive part of a dot. NULL where the text is no name. Where the ring has
 * no room for another name, dots on it are counted as refused. */
const struct dotter_series *dotter_series(const struct dotter *publisher, const char *name);

/* The same, and says what the values are measured in: for the page, changes nothing else. */
const struct dotter_series *dotter_series_with_unit(const struct dotter *publisher, const char *name,
                                                    const char *unit);

/* A series of numbers of another type: 'F' double, 'f' float, 'I' int64_t, 'U' uint64_t. The unit may be
 * NULL. One name may have series of several types. */
const struct dotter_series *dotter_series_of(const struct dotter *publisher, const char *name, const char *unit,
                                             char letter);

/* Publishes a value, now. DOTTER_OK also where it was counted as refused, DOTTER_NULL where `series` is,
 * DOTTER_HANDLE where it is of another type. */
int dotter_dot(const struct dotter_series *series, double value);
int dotter_dot_f32(const struct dotter_series *series, float value);
int dotter_dot_i64(const struct dotter_series *series, int64_t value);
int dotter_dot_u64(const struct dotter_series *series, uint64_t value);

/* Publishes a value of another time, in nanoseconds since 1970. */
int dotter_dot_at(const struct dotter_series *series, uint64_t nanoseconds, double value);
int dotter_dot_at_f32(const struct dotter_series *series, uint64_t nanoseconds, float value);
int dotter_dot_at_i64(const struct dotter_series *series, uint64_t nanoseconds, int64_t value);
int dotter_dot_at_u64(const struct dotter_series *series, uint64_t nanoseconds, uint64_t value);

/* ---- counters ---- */

/* The counter of that name; the unit may be NULL. All counters of one name count together. */
const struct dotter_counter *dotter_counter(const struct dotter *publisher, const char *name, const char *unit);

/* Counts `more` and publishes how many there were since the program began. */
int dotter_count(const struct dotter_counter *counter, uint64_t more);

/* How many there were; 0 where the counter is none. */
uint64_t dotter_total(const struct dotter_counter *counter);

/* ---- text ---- */

/* The text of that name. */
const struct dotter_text *dotter_text(const struct dotter *publisher, const char *name);

/* Publishes a line of so many bytes, now. One of more than 4016 is counted as refused: cutting it is for who
 * knows what may go. DOTTER_TEXT where it is not UTF-8. */
int dotter_line(const struct dotter_text *text, const char *line, size_t bytes);

/* Publishes a line of another time, in nanoseconds since 1970. */
int dotter_line_at(const struct dotter_text *text, uint64_t nanoseconds, const char *line, size_t bytes);

/* ---- raw bytes ---- */

/* The series of raw bytes of that name. */
const struct dotter_bytes *dotter_bytes(const struct dotter *publisher, const char *name);

/* Publishes so many bytes, now; NULL where there are none. More than 4016 are counted as refused. */
int dotter_dot_bytes(const struct dotter_bytes *series, const void *bytes, size_t size);

/* Publishes bytes of another time, in nanoseconds since 1970. */
int dotter_dot_at_bytes(const struct dotter_bytes *series, uint64_t nanoseconds, const void *bytes, size_t size);

/* ---- rows ---- */

/* The row of that name, with a letter and a name for each of 1 to 64 columns; the unit may be NULL.
 *
 *     const char *columns[] = {"busy", "read"};
 *     const struct dotter_row *disk = dotter_row(publisher, "disk.sda", NULL, "FU", columns);
 *     union dotter_cell cells[2];
 *     cells[0].f64 = 0.25;
 *     cells[1].u64 = 4096;
 *     dotter_cells(disk, cells, 2);
 */
const struct dotter_row *dotter_row(const struct dotter *publisher, const char *name, const char *unit,
                                    const char *letters, const char *const *columns);

/* Publishes a row, now: a cell for each column. DOTTER_SIZE where there are more or fewer. */
int dotter_cells(const struct dotter_row *row, const union dotter_cell *cells, size_t count);

/* Publishes a row of another time, in nanoseconds since 1970. */
int dotter_cells_at(const struct dotter_row *row, uint64_t nanoseconds, const union dotter_cell *cells,
                    size_t count);

/* ---- a lane of one's own ---- */

/* A lane for the thread that has most to say: the fastest way there is. One thread at a time may use it, and
 * what is published through it stands apart from what its thread publishes otherwise. NULL where that fails. */
struct dotter_lane *dotter_lane(const struct dotter *publisher);

/* Gives the lane back; the next thread goes on in it. NULL is nothing to close. */
int dotter_lane_close(struct dotter_lane *lane);

/* Publishes through it, as the functions without `lane` do. DOTTER_BUSY in a signal handler that interrupted
 * another of these on the same lane: nothing is published, and nothing counted. */
int dotter_lane_dot(struct dotter_lane *lane, const struct dotter_series *series, double value);
int dotter_lane_dot_f32(struct dotter_lane *lane, const struct dotter_series *series, float value);
int dotter_lane_dot_i64(struct dotter_lane *lane, const struct dotter_series *series, int64_t value);
int dotter_lane_dot_u64(struct dotter_lane *lane, const struct dotter_series *series, uint64_t value);
int dotter_lane_dot_at(struct dotter_lane *lane, const struct dotter_series *series, uint64_t nanoseconds,
                       double value);
int dotter_lane_dot_at_f32(struct dotter_lane *lane, const struct dotter_series *series, uint64_t nanoseconds,
                           float value);
int dotter_lane_dot_at_i64(struct dotter_lane *lane, const struct dotter_series *series, uint64_t nanoseconds,
                           int64_t value);
int dotter_lane_dot_at_u64(struct dotter_lane *lane, const struct dotter_series *series, uint64_t nanoseconds,
                           uint64_t value);
int dotter_lane_line(struct dotter_lane *lane, const struct dotter_text *text, const char *line, size_t bytes);
int dotter_lane_line_at(struct dotter_lane *lane, const struct dotter_text *text, uint64_t nanoseconds,
                        const char *line, size_t bytes);
int dotter_lane_dot_bytes(struct dotter_lane *lane, const struct dotter_bytes *series, const void *bytes,
                          size_t size);
int dotter_lane_dot_at_bytes(struct dotter_lane *lane, const struct dotter_bytes *series, uint64_t nanoseconds,
                             const void *bytes, size_t size);
int dotter_lane_cells(struct dotter_lane *lane, const struct dotter_row *row, const union dotter_cell *cells,
                      size_t count);
int dotter_lane_cells_at(struct dotter_lane *lane, const struct dotter_row *row, uint64_t nanoseconds,
                         const union dotter_cell *cells, size_t count);

/* ---- what went wrong ---- */

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
