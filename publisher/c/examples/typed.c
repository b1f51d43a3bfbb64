/* Publishes a line of text, a row, a counter and numbers that are no doubles. */
#include <dotter.h>
#include <stdio.h>
#include <string.h>

int main(int count, char **words) {
    struct dotter_options options = DOTTER_OPTIONS;
    options.application = "typed";
    options.instance = "worker-3";
    options.path = count > 1 ? words[1] : NULL;
    struct dotter *publisher = dotter_open_with(&options);

    const struct dotter_series *offset = dotter_series_of(publisher, "queue.offset", "bytes", 'I');
    const struct dotter_counter *orders = dotter_counter(publisher, "shop.orders", NULL);
    const struct dotter_text *log = dotter_text(publisher, "shop.log");
    const char *columns[] = {"busy", "read", "errors"};
    const struct dotter_row *disk = dotter_row(publisher, "disk.sda", NULL, "FUi", columns);
    /* One look is enough: what follows from a failure leaves its words. */
    if (!offset || !orders || !log || !disk) return fprintf(stderr, "typed: %s\n", dotter_last_error()), 1;

    dotter_dot_i64(offset, INT64_C(9007199254740993)); /* one more than a double can count to */
    dotter_count(orders, 2);
    dotter_count(orders, 1); /* publishes 3 */

    const char *line = "the first order is through";
    dotter_line(log, line, strlen(line));

    union dotter_cell cells[3];
    cells[0].f64 = 0.25;
    cells[1].u64 = 4096;
    cells[2].i32 = -1;
    dotter_cells(disk, cells, 3);

    struct dotter_lane *lane = dotter_lane(publisher);
    for (int64_t bytes = 0; bytes < 10; bytes++) dotter_lane_dot_i64(lane, offset, bytes);
    dotter_lane_close(lane);
    return dotter_close(publisher);
}
