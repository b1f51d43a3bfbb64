/* What a dot costs from C: nanoseconds for one, least, median and most of 201 runs.
 *
 *     cargo build --release -p dotter-publisher-c
 *     cc -O2 -I publisher/c/include publisher/c/examples/bench.c -L target/release -ldotter -o bench
 *     LD_LIBRARY_PATH=target/release ./bench [PATH [DOTS-IN-A-RUN]]
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

static void measure(const char *what, const struct dotter_series *series, int given) {
    static double runs[RUNS];
    /* The first runs are not counted: they touch the lane's pages. */
    for (int run = -RUNS / 10; run < RUNS; run++) {
        double start = now();
        for (uint64_t dot = 0; dot < run_dots; dot++) {
            if (given) dotter_dot_at(series, UINT64_C(1700000000000000000) + dot, (double)dot);
            else dotter_dot(series, (double)dot);
        }
        if (run >= 0) runs[run] = (now() - start) / (double)run_dots;
    }
    qsort(runs, RUNS, sizeof *runs, by_size);
    printf("%-14s %6.2f / %6.2f / %6.2f ns\n", what, runs[0], runs[RUNS / 2], runs[RUNS - 1]);
}

int main(int count, char **words) {
    struct dotter *publisher = count > 1 ? dotter_create(words[1], 250000) : dotter_open("bench");
    const struct dotter_series *series = dotter_series(publisher, "bench.dot");
    if (count > 2) run_dots = strtoul(words[2], NULL, 10);
    if (!series) {
        fprintf(stderr, "bench: %s\n", dotter_last_error());
        return 1;
    }
    measure("dotter_dot", series, 0);
    measure("dotter_dot_at", series, 1);
    return dotter_close(publisher);
}
