/* Publishes what it reads, a line for each dot: letters, name, unit, nanoseconds or "now", value; tabs between.
 * The letters are F, f, I, U for numbers, s for text, b for raw bytes as hex digits, and in brackets for the cells of a row, blanks between, in
 * columns c0, c1, ... */
#include <dotter.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct dotter *publisher;

static int number(char letter, const char *name, const char *unit, const char *time, const char *value) {
    const struct dotter_series *series = dotter_series_of(publisher, name, unit, letter);
    uint64_t at = strtoumax(time, NULL, 10);
    int now = strcmp(time, "now") == 0;
    switch (letter) {
    case 'f':
        return now ? dotter_dot_f32(series, strtof(value, NULL))
                   : dotter_dot_at_f32(series, at, strtof(value, NULL));
    case 'I':
        return now ? dotter_dot_i64(series, strtoll(value, NULL, 10))
                   : dotter_dot_at_i64(series, at, strtoll(value, NULL, 10));
    case 'U':
        return now ? dotter_dot_u64(series, strtoull(value, NULL, 10))
                   : dotter_dot_at_u64(series, at, strtoull(value, NULL, 10));
    default: return now ? dotter_dot(series, strtod(value, NULL)) : dotter_dot_at(series, at, strtod(value, NULL));
    }
}

static int text(const char *name, const char *time, const char *line) {
    const struct dotter_text *text = dotter_text(publisher, name);
    if (strcmp(time, "now") == 0) return dotter_line(text, line, strlen(line));
    return dotter_line_at(text, strtoumax(time, NULL, 10), line, strlen(line));
}

static int bytes(const char *name, const char *time, const char *digits) {
    const struct dotter_bytes *series = dotter_bytes(publisher, name);
    unsigned char content[4096];
    size_t size = strlen(digits) / 2;
    for (size_t at = 0; at < size; at++) {
        const char pair[3] = {digits[2 * at], digits[2 * at + 1], 0};
        content[at] = (unsigned char)strtoul(pair, NULL, 16);
    }
    if (strcmp(time, "now") == 0) return dotter_dot_bytes(series, content, size);
    return dotter_dot_at_bytes(series, strtoumax(time, NULL, 10), content, size);
}

static int row(const char *letters, const char *name, const char *unit, const char *time, const char *value) {
    static char names[64][24];
    const char *columns[64];
    union dotter_cell cells[64];
    size_t count = strlen(letters);
    if (count > 64) return DOTTER_COLUMNS;
    for (size_t column = 0; column < count; column++) {
        snprintf(names[column], sizeof names[column], "c%zu", column);
        columns[column] = names[column];
        char *end = NULL;
        /* What is not the cell's own stays as it was: nobody may look at it. */
        memset(&cells[column], 0xa5, sizeof cells[column]);
        switch (letters[column]) {
        case 'F': cells[column].f64 = strtod(value, &end); break;
        case 'f': cells[column].f32 = strtof(value, &end); break;
        case 'I': cells[column].i64 = strtoll(value, &end, 10); break;
        case 'U': cells[column].u64 = strtoull(value, &end, 10); break;
        case 'i': cells[column].i32 = (int32_t)strtol(value, &end, 10); break;
        default: cells[column].u32 = (uint32_t)strtoul(value, &end, 10); break;
        }
        value = end;
    }
    const struct dotter_row *row = dotter_row(publisher, name, unit, letters, columns);
    if (strcmp(time, "now") == 0) return dotter_cells(row, cells, count);
    return dotter_cells_at(row, strtoumax(time, NULL, 10), cells, count);
}

int main(int count, char **words) {
    struct dotter_options options = DOTTER_OPTIONS;
    options.application = "same";
    options.path = count > 1 ? words[1] : NULL;
    publisher = dotter_open_with(&options);
    char line[16384];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *name = strchr(line, '\t'), *unit = name ? strchr(name + 1, '\t') : NULL;
        char *time = unit ? strchr(unit + 1, '\t') : NULL, *value = time ? strchr(time + 1, '\t') : NULL;
        if (!value) return 2;
        *name++ = *unit++ = *time++ = *value++ = 0;
        int done;
        if (*line == '(') {
            line[strlen(line) - 1] = 0;
            done = row(line + 1, name, unit, time, value);
        } else {
            done = *line == 's'   ? text(name, time, value)
                   : *line == 'b' ? bytes(name, time, value)
                                  : number(*line, name, unit, time, value);
        }
        if (done != DOTTER_OK) {
            fprintf(stderr, "same: %s\n", dotter_last_error());
            return 1;
        }
    }
    return dotter_close(publisher);
}
