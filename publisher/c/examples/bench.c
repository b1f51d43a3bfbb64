/* What publishing costs from C: nanoseconds for one, least, median and most of 201 runs.
 *
 *     publisher/c/install
 *     cc -O2 publisher/c/examples/bench.c $(pkg-config --cflags --libs dotter) -o bench
 *     ./bench [PATH [DOTS-IN-A-RUN]]
 */
#define _POSIX_C_SOURCE 199309L
#include <dotter.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RUNS = 201 };

static uint64_t run_dots = 50000;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double runs[RUNS];

static void report(const char *what) {
    qsort(runs, RUNS, sizeof *runs, by_size);
    printf("%-26s %6.2f / %6.2f / %6.2f ns\n", what, runs[0], runs[RUNS / 2], runs[RUNS - 1]);
}

/* Runs `publish` for each `number`. The first runs are not counted: they touch the lane's pages. */
#define MEASURE(what, publish)                                                   \
    do {                                                                         \
        for (int run = -RUNS / 10; run < RUNS; run++) {                          \
            double start = now();                                                \
            for (uint64_t number = 0; number < run_dots; number++) publish;      \
            if (run >= 0) runs[run] = (now() - start) / (double)run_dots;        \
        }                                                                        \
        report(what);                                                            \
    } while (0)

int main(int count, char **words) {
    struct dotter *publisher = count > 1 ? dotter_create(words[1], 250000) : dotter_open("bench");
    const char *columns[] = {"a", "b", "c", "d"}, *line = "a line of 24 characters.";
    const struct dotter_series *series = dotter_series(publisher, "bench.dot");
    const struct dotter_series *offset = dotter_series_of(publisher, "bench.offset", "bytes", 'I');
    const struct dotter_text *log = dotter_text(publisher, "bench.log");
    const struct dotter_row *disk = dotter_row(publisher, "bench.disk", NULL, "FFUu", columns);
    const struct dotter_counter *orders = dotter_counter(publisher, "bench.orders", NULL);
    struct dotter_lane *lane = dotter_lane(publisher);
    if (count > 2) run_dots = strtoul(words[2], NULL, 10);
    if (!series || !offset || !log || !disk || !orders || !lane) {
        fprintf(stderr, "bench: %s\n", dotter_last_error());
        return 1;
    }
    const uint64_t start_ns = UINT64_C(1700000000000000000);
    union dotter_cell cells[4] = {{0.5}, {1.5}, {0}, {0}};
    MEASURE("dotter_dot", dotter_dot(series, (double)number));
    MEASURE("dotter_dot_at", dotter_dot_at(series, start_ns + number, (double)number));
    MEASURE("dotter_dot_at_i64", dotter_dot_at_i64(offset, start_ns + number, (int64_t)number));
    MEASURE("dotter_line_at, 24 bytes", dotter_line_at(log, start_ns + number, line, 24));
    MEASURE("dotter_cells_at, 4 columns", (cells[2].u64 = number, dotter_cells_at(disk, start_ns + number, cells, 4)));
    MEASURE("dotter_count", dotter_count(orders, 1));
    MEASURE("dotter_lane_dot", dotter_lane_dot(lane, series, (double)number));
    MEASURE("dotter_lane_dot_at", dotter_lane_dot_at(lane, series, start_ns + number, (double)number));
    MEASURE("dotter_lane_line_at", dotter_lane_line_at(lane, log, start_ns + number, line, 24));
    MEASURE("dotter_lane_cells_at, 4 columns", dotter_lane_cells_at(lane, disk, start_ns + number, cells, 4));
    dotter_lane_close(lane);
    return dotter_close(publisher);
}
