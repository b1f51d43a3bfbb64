/* Writes the kept ring of every kind with nothing but dotter_ring.h: what shared/ring/tests/golden.rs writes, step by
 * step. The only word is the name of the file, which must not be there yet.
 *
 * For one life of one process; a real writer also locks the file and gives it its name when it is whole. */
#define _POSIX_C_SOURCE 200809L
#include <dotter_ring.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { REGISTRY_OFF = 4096, CONTROL_OFF = 8192, LANE_OFF = 12288, LANE_BYTES = 65536 };
enum { FILE_LEN = LANE_OFF + LANE_BYTES };

static const uint64_t START = UINT64_C(1700000000000000000), HZ = UINT64_C(2500000000);

static _Atomic uint64_t *file;
static uint64_t now_nanos, now_ticks;

/* Where the writer stands; never read back. */
static uint64_t head, block_end, base_ticks, base_nanos, records, pair_nanos, pair_ticks, registry_used;
static uint32_t series_count;

static void must(int holds, const char *what) {
    if (holds) return;
    perror(what);
    exit(1);
}

static void store(size_t byte, uint64_t word) {
    atomic_store_explicit(&file[byte / 8], word, memory_order_relaxed);
}

static void release(size_t byte, uint64_t word) {
    atomic_store_explicit(&file[byte / 8], word, memory_order_release);
}

static void store_bytes(size_t byte, const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t word = 0;
        memcpy(&word, (const char *)from + at, bytes - at < 8 ? bytes - at : 8);
        store(byte + at, word);
    }
}

/* RFC 3720, appendix B.4. */
static uint32_t crc32c(const void *data, size_t bytes) {
    uint32_t crc = UINT32_MAX;
    for (size_t at = 0; at < bytes; at++) {
        crc ^= ((const uint8_t *)data)[at];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~crc;
}

static void tick(uint64_t millis) {
    now_nanos = START + millis * 1000000;
    now_ticks = UINT64_C(7000000000) + millis * (HZ / 1000);
}

static void create(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0640);
    must(fd >= 0 && posix_fallocate(fd, 0, FILE_LEN) == 0, path);
    file = mmap(NULL, FILE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must((void *)file != MAP_FAILED && close(fd) == 0, path);
    struct dotter_ring_header header;
    memset(&header, 0, sizeof header);
    memcpy(header.magic, DOTTER_RING_MAGIC, 8);
    header.byte_order = DOTTER_RING_BYTE_ORDER;
    header.major_version = DOTTER_RING_MAJOR;
    header.minor_version = DOTTER_RING_MINOR;
    header.header_len = DOTTER_RING_HEADER_BYTES;
    header.file_len = FILE_LEN;
    for (uint8_t byte = 0; byte < 16; byte++) header.incarnation[byte] = byte;
    memset(header.boot_id, 0xb0, 16);
    header.created = START;
    header.clock = DOTTER_RING_CLOCK_TSC;
    header.block_len = DOTTER_RING_BLOCK_BYTES;
    header.tick_hz = HZ;
    header.pid = 4711;
    header.uid = 1000;
    header.start_ticks = 12345;
    header.lanes_max = 1;
    header.lane_log2 = 16;
    header.lane_ctl_off = CONTROL_OFF;
    header.lane_data_off = LANE_OFF;
    header.registry_off = REGISTRY_OFF;
    header.registry_len = CONTROL_OFF - REGISTRY_OFF;
    header.pid_namespace = UINT64_C(4026531836);
    strcpy(header.application, "golden");
    header.checksum = crc32c(&header, DOTTER_RING_HEADER_CHECKED_BYTES);
    header.state = DOTTER_RING_LIVE | UINT64_C(1) << 32;
    store_bytes(0, &header, sizeof header);
    registry_used = DOTTER_RING_REGISTRY_ENTRIES;
}

static uint32_t series(const char *name, unsigned kind, const char *letters, const char *const *columns) {
    char bytes[512] = {0};
    struct dotter_ring_entry entry = {0};
    size_t used = sizeof entry;
    entry.series = series_count++;
    entry.kind = (uint8_t)kind;
    entry.columns = (uint8_t)strlen(letters);
    entry.name_len = (uint16_t)strlen(name);
    memcpy(bytes + used, letters, entry.columns);
    used += entry.columns;
    for (unsigned column = 0; column < entry.columns; column++) {
        size_t length = columns ? strlen(columns[column]) : 0;
        bytes[used++] = (char)length;
        if (columns) memcpy(bytes + used, columns[column], length);
        used += length;
    }
    memcpy(bytes + used, name, entry.name_len);
    entry.entry_len = (uint32_t)((used + entry.name_len + 7) / 8 * 8);
    memcpy(bytes, &entry, sizeof entry);
    entry.checksum = crc32c(bytes, entry.entry_len);
    memcpy(bytes, &entry, sizeof entry);
    store_bytes(REGISTRY_OFF + registry_used, bytes, entry.entry_len);
    registry_used += entry.entry_len;
    release(REGISTRY_OFF, registry_used);
    return entry.series;
}

static size_t place(uint64_t count) { return LANE_OFF + (size_t)(count % LANE_BYTES); }

static void open_block(uint64_t ticks, uint64_t nanos) {
    if (!pair_nanos || now_ticks - pair_ticks > HZ / 50) pair_nanos = now_nanos, pair_ticks = now_ticks;
    base_ticks = ticks ? ticks : now_ticks;
    base_nanos = ticks ? pair_nanos : nanos;
    if (head < block_end) store(place(head), (uint64_t)DOTTER_RING_END << 20);
    store(CONTROL_OFF + offsetof(struct dotter_ring_control, claim), block_end + DOTTER_RING_BLOCK_BYTES);
    atomic_thread_fence(memory_order_release);
    const uint64_t block[8] = {block_end / DOTTER_RING_BLOCK_BYTES, records, pair_nanos, pair_ticks, base_ticks,
                               base_nanos, UINT64_C(0x0706050403020100), 0};
    for (size_t word = 0; word < 8; word++) store(place(block_end) + word * 8, block[word]);
    head = block_end + DOTTER_RING_BLOCK_HEAD_BYTES;
    block_end += DOTTER_RING_BLOCK_BYTES;
}

static void commit(size_t bytes) {
    head += bytes;
    records++;
    release(CONTROL_OFF + offsetof(struct dotter_ring_control, head), head);
}

/* Whether a record of `bytes` with this delta can be put where the writer stands. */
static int may_put(size_t bytes, int64_t delta) { return block_end - head >= bytes && dotter_ring_fits(delta); }

static void dot(uint32_t series, unsigned kind, uint64_t value) {
    int64_t delta = (int64_t)(now_ticks - base_ticks);
    if (!may_put(16, delta)) open_block(now_ticks, 0), delta = 0;
    store(place(head), dotter_ring_word(series, kind, delta));
    store(place(head) + 8, value);
    commit(16);
}

static void dot_at(uint32_t series, unsigned kind, uint64_t nanos, uint64_t value) {
    int64_t delta = (int64_t)(nanos - base_nanos);
    if (!may_put(16, delta)) {
        if (block_end - head >= 32) {
            store(place(head), dotter_ring_word(series, DOTTER_RING_ABSOLUTE, 0));
            store(place(head) + 8, nanos);
            store(place(head) + 16, value);
            store(place(head) + 24, kind);
            commit(32);
            return;
        }
        open_block(0, nanos), delta = 0;
    }
    store(place(head), dotter_ring_word(series, kind + DOTTER_RING_NANOS, delta));
    store(place(head) + 8, value);
    commit(16);
}

/* A text or a row of `count` bytes or columns in `bytes` bytes; at `nanos` where that is not NULL. */
static void put_long(uint32_t series, unsigned kind, const uint64_t *nanos, uint64_t count, const void *from,
                     size_t bytes) {
    size_t length = (16 + bytes + 15) / 16 * 16, front = 16;
    uint64_t flags = nanos ? DOTTER_RING_FLAG_NANOS : 0;
    int64_t delta = (int64_t)(nanos ? *nanos - base_nanos : now_ticks - base_ticks);
    if (!may_put(length, delta)) {
        if (nanos && !dotter_ring_fits(delta) && block_end - head >= length + 16) {
            flags = DOTTER_RING_FLAG_ABSOLUTE, front = 24, length = (24 + bytes + 15) / 16 * 16;
            store(place(head) + 16, *nanos);
        } else {
            open_block(nanos ? 0 : now_ticks, nanos ? *nanos : 0);
        }
        delta = 0;
    }
    store(place(head), dotter_ring_word(series, kind, delta));
    store(place(head) + 8, count | flags);
    if (length > front) store(place(head) + length - 8, 0);
    store_bytes(place(head) + front, from, bytes);
    commit(length);
}

static void text(uint32_t series, const uint64_t *nanos, const char *line, size_t bytes) {
    size_t counter = CONTROL_OFF + offsetof(struct dotter_ring_control, rejected_oversize);
    if (bytes > DOTTER_RING_TEXT_BYTES_MAX) store(counter, file[counter / 8] + 1);
    else put_long(series, DOTTER_RING_TEXT, nanos, bytes, line, bytes);
}

static void row(uint32_t series, const uint64_t *nanos, const uint64_t *cells, size_t count) {
    put_long(series, DOTTER_RING_ROW, nanos, count, cells, count * 8);
}

static uint64_t bits_f64(double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return bits;
}

static uint64_t bits_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

int main(int count, char **words) {
    must(count == 2, "own_writer FILE");
    create(words[1]);
    const char *columns[] = {"a", "b", "c", "d", "gr\xc3\xb6\xc3\x9f" "e", ""};
    uint32_t f64s = series("f64", DOTTER_RING_F64, "F", NULL), i64s = series("i64", DOTTER_RING_I64, "I", NULL);
    uint32_t u64s = series("u64", DOTTER_RING_U64, "U", NULL), f32s = series("f32", DOTTER_RING_F32, "f", NULL);
    uint32_t texts = series("text", DOTTER_RING_TEXT, "s", NULL);
    uint32_t rows = series("row", DOTTER_RING_ROW, "FfIUiu", columns);
    const uint64_t cells[6] = {bits_f64(-2.5), bits_f32(0.5F), UINT64_C(1) << 63, UINT64_MAX,
                               (uint64_t)INT64_C(-3), UINT32_MAX};
    uint64_t wide[64];
    for (uint64_t column = 0; column < 64; column++) wide[column] = column;
    for (uint64_t millis = 0; millis < 4; millis++) {
        tick(millis);
        dot(f64s, DOTTER_RING_F64, bits_f64(1.5));
        dot(i64s, DOTTER_RING_I64, (UINT64_C(1) << 63) + millis);
        dot(u64s, DOTTER_RING_U64, UINT64_MAX - millis);
        dot(f32s, DOTTER_RING_F32, bits_f32(-0.25F));
        for (size_t length = 0; length < 16; length++) {
            text(texts, NULL, "Gr\xc3\xbc\xc3\x9f" "e an alle, die lesen", length + (length < 6 ? length : 6));
        }
        row(rows, NULL, cells, 6);
        row(rows, NULL, wide, 64);
        const uint64_t times[3] = {START + millis, millis, UINT64_MAX - millis};
        for (const uint64_t *time = times; time < times + 3; time++) {
            dot_at(f64s, DOTTER_RING_F64, *time, bits_f64(1.5));
            dot_at(i64s, DOTTER_RING_I64, *time, (uint64_t)INT64_C(-7));
            dot_at(u64s, DOTTER_RING_U64, *time, 7);
            dot_at(f32s, DOTTER_RING_F32, *time, bits_f32(0.125F));
            text(texts, time, "a line", 6);
            row(rows, time, cells, 6);
            row(rows, time, cells, 5);
        }
    }
    char longest[DOTTER_RING_TEXT_BYTES_MAX + 1];
    memset(longest, 'x', sizeof longest);
    text(texts, NULL, longest, DOTTER_RING_TEXT_BYTES_MAX);
    text(texts, NULL, longest, sizeof longest);
    release(offsetof(struct dotter_ring_header, state), DOTTER_RING_CLOSED | UINT64_C(1) << 32);
    must(munmap((void *)file, FILE_LEN) == 0, words[1]);
    return 0;
}
