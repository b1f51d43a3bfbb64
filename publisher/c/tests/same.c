/* Publishes what it reads, a line for each dot: name, unit, nanoseconds or "now", value; tabs between. */
#include <dotter.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **words) {
    struct dotter_options options = DOTTER_OPTIONS;
    options.application = "same";
    options.path = count > 1 ? words[1] : NULL;
    struct dotter *publisher = dotter_open_with(&options);
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        char *unit = strchr(line, '\t'), *time = unit ? strchr(unit + 1, '\t') : NULL;
        char *value = time ? strchr(time + 1, '\t') : NULL;
        if (!value) return 2;
        *unit++ = *time++ = *value++ = 0;
        const struct dotter_series *series = dotter_series_with_unit(publisher, line, unit);
        double number = strtod(value, NULL);
        int done = strcmp(time, "now") == 0 ? dotter_dot(series, number)
                                            : dotter_dot_at(series, strtoumax(time, NULL, 10), number);
        if (done != DOTTER_OK) {
            fprintf(stderr, "same: %s\n", dotter_last_error());
            return 1;
        }
    }
    return dotter_close(publisher);
}
