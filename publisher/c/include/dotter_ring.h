/* dotter_ring.h: the bytes of a ring file, for who writes or reads one without libdotter.
 *
 * FORMAT.md in shared/ring says what they mean; this says where they lie, and has the compiler check it. All of
 * it is little-endian. Copy a header out and in; whatever changes after the file has its name (the state, the
 * registry, lane control and lanes) is read and written as aligned 64-bit words, atomically:
 *
 * - writer, a record: its words (relaxed), then `head` (release)
 * - writer, a block: `claim` (relaxed), release fence, the words of the block's head (relaxed)
 * - reader: `head` (acquire), words (relaxed), acquire fence, `claim`; a copy of a block that `claim` has passed
 *   by a lane is thrown away
 *
 * The writer keeps where it stands to itself and never reads it back from the file.
 */
#ifndef DOTTER_RING_H
#define DOTTER_RING_H

#include <stddef.h>
#include <stdint.h>

#define DOTTER_RING_MAGIC "DOTRING1"
#define DOTTER_RING_BYTE_ORDER UINT32_C(0x01020304)
#define DOTTER_RING_MAJOR 0
#define DOTTER_RING_MINOR 0

enum {
    DOTTER_RING_HEADER_BYTES = 4096,
    DOTTER_RING_HEADER_CHECKED_BYTES = 512, /* what `checksum` covers, itself taken as zero */
    DOTTER_RING_REGISTRY_ENTRIES = 64,      /* where the first entry is */
    DOTTER_RING_CONTROL_BYTES = 256,
    DOTTER_RING_BLOCK_BYTES = 4096,
    DOTTER_RING_BLOCK_HEAD_BYTES = 64,
    DOTTER_RING_GRANULE_BYTES = 16,
    DOTTER_RING_TEXT_BYTES_MAX = 4016,
    DOTTER_RING_COLUMNS_MAX = 64,
    DOTTER_RING_LANE_LOG2_MIN = 16,
    DOTTER_RING_LANE_LOG2_MAX = 36
};

/* What ticks are: `clock`. */
enum { DOTTER_RING_CLOCK_REALTIME = 0, DOTTER_RING_CLOCK_TSC = 1, DOTTER_RING_CLOCK_CNTVCT = 2 };

/* Low half of `state`; the high half is how many lanes are in use. */
enum { DOTTER_RING_LIVE = 1, DOTTER_RING_CLOSED = 2 };

/* Kinds of records. The first four with a delta in ticks; plus DOTTER_RING_NANOS in nanoseconds. */
enum {
    DOTTER_RING_F64 = 1,
    DOTTER_RING_I64 = 2,
    DOTTER_RING_U64 = 3,
    DOTTER_RING_F32 = 4,
    DOTTER_RING_NANOS = 4,
    DOTTER_RING_ABSOLUTE = 9,
    DOTTER_RING_TEXT = 10,
    DOTTER_RING_ROW = 11,
    DOTTER_RING_END = 15
};

/* In the second word of texts, raw bytes and rows, beside the length. */
#define DOTTER_RING_FLAG_NANOS (UINT64_C(1) << 32)
#define DOTTER_RING_FLAG_ABSOLUTE (UINT64_C(1) << 33)

struct dotter_ring_header {
    char magic[8];
    uint32_t byte_order;
    uint16_t major_version;
    uint16_t minor_version;
    uint32_t header_len;
    uint32_t checksum; /* CRC-32C */
    uint64_t file_len;
    uint8_t incarnation[16];
    uint8_t boot_id[16];
    uint64_t created;
    uint32_t clock;
    uint32_t block_len;
    uint64_t tick_hz;
    uint32_t pid;
    uint32_t uid;
    uint64_t start_ticks;
    uint32_t lanes_max;
    uint32_t lane_log2;
    uint64_t lane_ctl_off;
    uint64_t lane_data_off;
    uint64_t registry_off;
    uint64_t registry_len;
    uint64_t pid_namespace;
    uint8_t reserved[40];
    char application[64];
    uint8_t reserved_too[256];
    uint64_t state; /* a word: state in the low half, lanes_used in the high half */
    uint64_t refused_series;
};

/* Behind it: a letter per column, per column a byte and the name it counts, the name, the unit, zeros to 8. */
struct dotter_ring_entry {
    uint32_t entry_len;
    uint32_t checksum; /* CRC-32C of the whole entry, this taken as zero */
    uint32_t series;
    uint8_t kind;
    uint8_t columns;
    uint16_t name_len;
    uint16_t unit_len;
    uint16_t flags;
};

struct dotter_ring_control {
    uint64_t head;
    uint64_t claim;
    uint64_t rejected_reentrant;
    uint64_t rejected_oversize;
    uint64_t rejected_other;
    uint64_t thread;
    uint64_t state; /* 1 taken, 0 not */
    uint64_t reserved[25];
};

struct dotter_ring_block {
    uint64_t block;
    uint64_t first_record;
    uint64_t realtime;
    uint64_t ticks;
    uint64_t base_ticks;
    uint64_t base_realtime;
    uint64_t incarnation;
    uint64_t reserved;
    uint64_t words[504];
};

/* The first word of a record. `delta` has 40 bits. */
static inline uint64_t dotter_ring_word(uint32_t series, unsigned kind, int64_t delta) {
    return (uint64_t)series | (uint64_t)kind << 20 | (uint64_t)delta << 24;
}

/* Whether a delta has 40 bits. */
static inline int dotter_ring_fits(int64_t delta) {
    return delta >= -(INT64_C(1) << 39) && delta < INT64_C(1) << 39;
}

#if defined(__cplusplus)
#define DOTTER_RING_ASSERT_(holds, why) static_assert(holds, why)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define DOTTER_RING_ASSERT_(holds, why) _Static_assert(holds, why)
#else
#define DOTTER_RING_ASSERT_(holds, why) extern int dotter_ring_assert_[(holds) ? 1 : -1]
#endif
#define DOTTER_RING_AT_(type, field, offset) \
    DOTTER_RING_ASSERT_(offsetof(struct type, field) == (offset), #field " lies where FORMAT.md says")

DOTTER_RING_AT_(dotter_ring_header, magic, 0);
DOTTER_RING_AT_(dotter_ring_header, byte_order, 8);
DOTTER_RING_AT_(dotter_ring_header, major_version, 12);
DOTTER_RING_AT_(dotter_ring_header, minor_version, 14);
DOTTER_RING_AT_(dotter_ring_header, header_len, 16);
DOTTER_RING_AT_(dotter_ring_header, checksum, 20);
DOTTER_RING_AT_(dotter_ring_header, file_len, 24);
DOTTER_RING_AT_(dotter_ring_header, incarnation, 32);
DOTTER_RING_AT_(dotter_ring_header, boot_id, 48);
DOTTER_RING_AT_(dotter_ring_header, created, 64);
DOTTER_RING_AT_(dotter_ring_header, clock, 72);
DOTTER_RING_AT_(dotter_ring_header, block_len, 76);
DOTTER_RING_AT_(dotter_ring_header, tick_hz, 80);
DOTTER_RING_AT_(dotter_ring_header, pid, 88);
DOTTER_RING_AT_(dotter_ring_header, uid, 92);
DOTTER_RING_AT_(dotter_ring_header, start_ticks, 96);
DOTTER_RING_AT_(dotter_ring_header, lanes_max, 104);
DOTTER_RING_AT_(dotter_ring_header, lane_log2, 108);
DOTTER_RING_AT_(dotter_ring_header, lane_ctl_off, 112);
DOTTER_RING_AT_(dotter_ring_header, lane_data_off, 120);
DOTTER_RING_AT_(dotter_ring_header, registry_off, 128);
DOTTER_RING_AT_(dotter_ring_header, registry_len, 136);
DOTTER_RING_AT_(dotter_ring_header, pid_namespace, 144);
DOTTER_RING_AT_(dotter_ring_header, application, 192);
DOTTER_RING_AT_(dotter_ring_header, state, 512);
DOTTER_RING_AT_(dotter_ring_header, refused_series, 520);
DOTTER_RING_ASSERT_(sizeof(struct dotter_ring_header) == 528, "the rest of the header is zero");
DOTTER_RING_AT_(dotter_ring_entry, entry_len, 0);
DOTTER_RING_AT_(dotter_ring_entry, checksum, 4);
DOTTER_RING_AT_(dotter_ring_entry, series, 8);
DOTTER_RING_AT_(dotter_ring_entry, kind, 12);
DOTTER_RING_AT_(dotter_ring_entry, columns, 13);
DOTTER_RING_AT_(dotter_ring_entry, name_len, 14);
DOTTER_RING_AT_(dotter_ring_entry, unit_len, 16);
DOTTER_RING_AT_(dotter_ring_entry, flags, 18);
DOTTER_RING_ASSERT_(sizeof(struct dotter_ring_entry) == 20, "the letters follow");
DOTTER_RING_AT_(dotter_ring_control, head, 0);
DOTTER_RING_AT_(dotter_ring_control, claim, 8);
DOTTER_RING_AT_(dotter_ring_control, rejected_reentrant, 16);
DOTTER_RING_AT_(dotter_ring_control, rejected_oversize, 24);
DOTTER_RING_AT_(dotter_ring_control, rejected_other, 32);
DOTTER_RING_AT_(dotter_ring_control, thread, 40);
DOTTER_RING_AT_(dotter_ring_control, state, 48);
DOTTER_RING_ASSERT_(sizeof(struct dotter_ring_control) == 256, "controls lie side by side");
DOTTER_RING_AT_(dotter_ring_block, block, 0);
DOTTER_RING_AT_(dotter_ring_block, first_record, 8);
DOTTER_RING_AT_(dotter_ring_block, realtime, 16);
DOTTER_RING_AT_(dotter_ring_block, ticks, 24);
DOTTER_RING_AT_(dotter_ring_block, base_ticks, 32);
DOTTER_RING_AT_(dotter_ring_block, base_realtime, 40);
DOTTER_RING_AT_(dotter_ring_block, incarnation, 48);
DOTTER_RING_AT_(dotter_ring_block, words, 64);
DOTTER_RING_ASSERT_(sizeof(struct dotter_ring_block) == 4096, "blocks lie side by side");

#endif
