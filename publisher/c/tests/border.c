/* Walks along the border: what must be refused is refused with its number and a sentence, what must arrive is
 * left in the directory given as the only word for the reader to find. Ends with 1 and the line where
 * something is not as it should be. */
#define _POSIX_C_SOURCE 200809L
#include <dotter.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(holds)                                                                             \
    do {                                                                                         \
        if (!(holds)) {                                                                          \
            fprintf(stderr, "line %d: %s; last error: %s\n", __LINE__, #holds, dotter_last_error()); \
            _exit(1);                                                                            \
        }                                                                                        \
    } while (0)

enum { THREADS = 4, DOTS = 1000 };

static const struct dotter_series *work, *given;
static struct dotter_lane *held;
static volatile sig_atomic_t refused_busy;

static void *publish(void *number) {
    uint64_t thread = *(const uint64_t *)number;
    for (uint64_t dot = 0; dot < DOTS; dot++) {
        CHECK(dotter_dot(work, (double)(thread * DOTS + dot)) == DOTTER_OK);
    }
    /* What went wrong in one thread is none of another's. */
    CHECK(dotter_last_code() == DOTTER_OK && strcmp(dotter_last_error(), "") == 0);
    return NULL;
}

static void on_signal(int signal) {
    (void)signal;
    dotter_dot(work, -1.0);
    refused_busy = dotter_lane_dot(held, work, -2.0);
}

static void refusals(const char *dir) {
    CHECK(dotter_abi() == DOTTER_ABI);
    CHECK(dotter_version()[0] != 0);
    CHECK(dotter_last_code() == DOTTER_OK);

    CHECK(dotter_series(NULL, "a") == NULL && dotter_last_code() == DOTTER_NULL);
    CHECK(dotter_dot(NULL, 1.0) == DOTTER_NULL && strstr(dotter_last_error(), "series") != NULL);
    CHECK(dotter_dot_at(NULL, 1, 1.0) == DOTTER_NULL);
    struct dotter_counts counts = DOTTER_COUNTS;
    CHECK(dotter_counts(NULL, &counts) == DOTTER_NULL);
    CHECK(dotter_path(NULL, NULL, 0) == DOTTER_NULL);
    CHECK(dotter_close(NULL) == DOTTER_OK);

    CHECK(dotter_create(NULL, 1) == NULL && dotter_last_code() == DOTTER_NULL);
    CHECK(dotter_create("/dev/null", 1) == NULL && dotter_last_code() == DOTTER_FILE);
    CHECK(dotter_create("/proc/no/such/ring", 1) == NULL && dotter_last_code() == DOTTER_SYSTEM);
    /* What follows from that leaves it to be read. */
    CHECK(dotter_series(NULL, "a") == NULL && dotter_dot(NULL, 1.0) == DOTTER_NULL);
    CHECK(dotter_last_code() == DOTTER_SYSTEM && strstr(dotter_last_error(), "/proc/no") != NULL);
    CHECK(dotter_create(dir, UINT64_MAX) == NULL && dotter_last_code() == DOTTER_SIZE);
    CHECK(dotter_open("") == NULL && dotter_last_code() == DOTTER_TEXT);
    CHECK(dotter_open("a/b") == NULL && dotter_last_code() == DOTTER_TEXT);
    CHECK(dotter_open("\xff") == NULL && dotter_last_code() == DOTTER_TEXT);
    CHECK(dotter_open_with(NULL) == NULL && dotter_last_code() == DOTTER_NULL);
    struct dotter_options options = DOTTER_OPTIONS;
    options.struct_bytes--;
    CHECK(dotter_open_with(&options) == NULL && dotter_last_code() == DOTTER_SIZE);
    options.struct_bytes++;
    const char *wrong[] = {"", "a;b=c", "two\nlines", "\xff"};
    for (size_t number = 0; number < 4; number++) {
        options.instance = wrong[number];
        CHECK(dotter_open_with(&options) == NULL && dotter_last_code() == DOTTER_TEXT);
    }
}

/* What is none, and what is something else, in the place of each handle. */
static void handles(struct dotter *publisher) {
    const void *of[8];
    const char *column[] = {"a"};
    of[0] = publisher;
    of[1] = dotter_series_of(publisher, "any", NULL, 'F');
    of[2] = dotter_series_of(publisher, "any", NULL, 'I');
    of[3] = dotter_text(publisher, "any");
    of[4] = dotter_row(publisher, "any", NULL, "F", column);
    of[5] = dotter_counter(publisher, "any", NULL);
    of[6] = dotter_lane(publisher);
    of[7] = dotter_bytes(publisher, "any");
    union dotter_cell cell = {1.0};
    for (int number = -1; number < 8; number++) {
        CHECK(number < 0 || of[number]);
        const void *it = number < 0 ? NULL : of[number];
        int answer = number < 0 ? DOTTER_NULL : DOTTER_HANDLE;
        struct dotter_lane *lane = (struct dotter_lane *)(uintptr_t)it, *right = (struct dotter_lane *)(uintptr_t)of[6];
        if (number != 0) {
            struct dotter_counts counts = DOTTER_COUNTS;
            /* What follows from a failure leaves it to be read. */
            CHECK(dotter_series(it, "a") == NULL && dotter_last_code() == (it ? answer : DOTTER_TEXT));
            CHECK(dotter_text(it, "a") == NULL && dotter_counter(it, "a", NULL) == NULL && dotter_lane(it) == NULL);
            CHECK(dotter_row(it, "a", NULL, "F", column) == NULL && dotter_bytes(it, "a") == NULL);
            CHECK(dotter_counts(it, &counts) == answer && dotter_path(it, NULL, 0) == answer);
            if (it) CHECK(dotter_close((struct dotter *)(uintptr_t)it) == answer);
        }
        if (number != 1) CHECK(dotter_dot(it, 1.0) == answer && dotter_dot_at(it, 1, 1.0) == answer);
        if (number != 1) CHECK(dotter_lane_dot(right, it, 1.0) == answer);
        if (number != 2) CHECK(dotter_dot_i64(it, 1) == answer && dotter_dot_at_i64(it, 1, 1) == answer);
        CHECK(dotter_dot_f32(it, 1.0F) == answer && dotter_dot_at_u64(it, 1, 1) == answer);
        if (number != 3) CHECK(dotter_line(it, "a", 1) == answer && dotter_line_at(it, 1, "a", 1) == answer);
        if (number != 3) CHECK(dotter_lane_line(right, it, "a", 1) == answer);
        if (number != 7) CHECK(dotter_dot_bytes(it, "a", 1) == answer && dotter_dot_at_bytes(it, 1, "a", 1) == answer);
        if (number != 7) CHECK(dotter_lane_dot_bytes(right, it, "a", 1) == answer);
        if (number != 4) CHECK(dotter_cells(it, &cell, 1) == answer && dotter_cells_at(it, 1, &cell, 1) == answer);
        if (number != 4) CHECK(dotter_lane_cells(right, it, &cell, 1) == answer);
        if (number != 5) CHECK(dotter_count(it, 1) == answer && dotter_total(it) == 0);
        if (number != 6) {
            CHECK(dotter_lane_dot(lane, of[1], 1.0) == answer && dotter_lane_line_at(lane, of[3], 1, "a", 1) == answer);
            CHECK(dotter_lane_dot_at_bytes(lane, of[7], 1, "a", 1) == answer);
            if (it) CHECK(dotter_lane_close(lane) == answer);
        }
    }
    struct dotter_lane *last = (struct dotter_lane *)(uintptr_t)of[6];
    CHECK(dotter_lane_cells(last, of[4], &cell, 2) == DOTTER_SIZE && dotter_lane_cells(last, of[4], NULL, 1) == DOTTER_NULL);
    CHECK(dotter_lane_close(NULL) == DOTTER_OK);
    CHECK(dotter_lane_close((struct dotter_lane *)(uintptr_t)of[6]) == DOTTER_OK);
}

/* What cannot be published for what it holds. */
static void contents(struct dotter *publisher) {
    CHECK(dotter_series_of(publisher, "any", NULL, 's') == NULL && dotter_last_code() == DOTTER_COLUMNS);
    CHECK(dotter_series_of(publisher, "any", NULL, '\n') == NULL && strstr(dotter_last_error(), "'\\n'") != NULL);
    const char *columns[] = {"a", "b", NULL}, *control[] = {"a\n", "b"};
    char letters[66];
    memset(letters, 'F', sizeof letters - 1);
    letters[sizeof letters - 1] = 0;
    CHECK(dotter_row(publisher, "any", NULL, NULL, columns) == NULL && dotter_last_code() == DOTTER_NULL);
    CHECK(dotter_row(publisher, "any", NULL, "FF", NULL) == NULL && dotter_last_code() == DOTTER_NULL);
    CHECK(dotter_row(publisher, "any", NULL, "FFF", columns) == NULL && dotter_last_code() == DOTTER_NULL);
    CHECK(dotter_row(publisher, "any", NULL, "Fs", columns) == NULL && dotter_last_code() == DOTTER_COLUMNS);
    CHECK(dotter_row(publisher, "any", NULL, "Fb", columns) == NULL && dotter_last_code() == DOTTER_COLUMNS);
    CHECK(dotter_row(publisher, "any", NULL, "Fx", columns) == NULL && dotter_last_code() == DOTTER_COLUMNS);
    CHECK(dotter_row(publisher, "any", NULL, "", columns) == NULL && dotter_last_code() == DOTTER_COLUMNS);
    CHECK(dotter_row(publisher, "any", NULL, letters, columns) == NULL && dotter_last_code() == DOTTER_COLUMNS);
    CHECK(dotter_row(publisher, "any", NULL, "FF", control) == NULL && dotter_last_code() == DOTTER_COLUMNS);
    const struct dotter_row *row = dotter_row(publisher, "any", NULL, "FF", columns);
    union dotter_cell cells[2] = {{1.0}, {2.0}};
    CHECK(row && row == dotter_row(publisher, "any", "", "FF", columns));
    CHECK(dotter_cells(row, NULL, 2) == DOTTER_NULL && dotter_cells(row, cells, 1) == DOTTER_SIZE);
    CHECK(dotter_cells_at(row, 1, cells, 3) == DOTTER_SIZE && dotter_cells(row, cells, SIZE_MAX) == DOTTER_SIZE);
    const struct dotter_text *text = dotter_text(publisher, "any");
    CHECK(dotter_line(text, NULL, 1) == DOTTER_NULL && dotter_line(text, "\xff", 1) == DOTTER_TEXT);
    CHECK(dotter_line(text, "a", SIZE_MAX) == DOTTER_SIZE);
    char longest[4017];
    memset(longest, 'x', sizeof longest);
    CHECK(dotter_line(text, longest, sizeof longest) == DOTTER_OK);
    const struct dotter_bytes *bytes = dotter_bytes(publisher, "any");
    CHECK(bytes && bytes == dotter_bytes(publisher, "any"));
    CHECK(dotter_dot_bytes(bytes, NULL, 1) == DOTTER_NULL && dotter_dot_bytes(bytes, "a", SIZE_MAX) == DOTTER_SIZE);
    CHECK(dotter_dot_bytes(bytes, longest, sizeof longest) == DOTTER_OK);
}

int main(int words_count, char **words) {
    CHECK(words_count == 2);
    const char *dir = words[1];
    refusals(dir);

    struct dotter_options options = DOTTER_OPTIONS;
    options.application = "border";
    options.path = dir;
    options.lane_dots = 100000;
    options.lanes_max = 8;
    options.registry_bytes = 4096;
    struct dotter *publisher = dotter_open_with(&options);
    CHECK(publisher);
    handles(publisher);
    contents(publisher);
    CHECK(dotter_series(publisher, NULL) == NULL && dotter_last_code() == DOTTER_NULL);
    CHECK(dotter_series(publisher, "") == NULL && dotter_last_code() == DOTTER_TEXT);
    CHECK(dotter_series(publisher, "two\nlines") == NULL && dotter_last_code() == DOTTER_TEXT);
    CHECK(dotter_series(publisher, "\xc3") == NULL && dotter_last_code() == DOTTER_TEXT);
    CHECK(dotter_series_with_unit(publisher, "a", "\xc3") == NULL && dotter_last_code() == DOTTER_TEXT);

    /* One series has one pointer, however its tags are written. */
    work = dotter_series_with_unit(publisher, "work;b=1;a=2", "ms");
    CHECK(work && work == dotter_series_with_unit(publisher, "work;a=2;b=1", "ms"));
    given = dotter_series(publisher, "given");
    CHECK(given && given != work && given == dotter_series(publisher, "given"));

    CHECK(dotter_dot_at(given, 0, 0.5) == DOTTER_OK);
    CHECK(dotter_dot_at(given, UINT64_MAX, 1.5) == DOTTER_OK);
    CHECK(dotter_dot_at(given, UINT64_C(1700000000123456789), 2.5) == DOTTER_OK);

    pthread_t threads[THREADS];
    uint64_t numbers[THREADS];
    for (uint64_t thread = 0; thread < THREADS; thread++) {
        numbers[thread] = thread;
        CHECK(pthread_create(&threads[thread], NULL, publish, &numbers[thread]) == 0);
    }
    for (int thread = 0; thread < THREADS; thread++) CHECK(pthread_join(threads[thread], NULL) == 0);

    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    held = dotter_lane(publisher);
    CHECK(held && sigaction(SIGUSR1, &action, NULL) == 0 && raise(SIGUSR1) == 0 && refused_busy == DOTTER_OK);

    /* A child has a ring of its own. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const struct dotter_series *own = dotter_series(publisher, "child");
        CHECK(own && dotter_dot_at(own, 7, 7.0) == DOTTER_OK && dotter_dot_at(given, 8, 8.0) == DOTTER_OK);
        CHECK(dotter_close(publisher) == DOTTER_OK && dotter_lane_close(held) == DOTTER_OK);
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);

    /* A full registry: the series is one, its dots are counted. */
    char name[32];
    for (int number = 0; number < 200; number++) {
        snprintf(name, sizeof name, "filler.%d", number);
        CHECK(dotter_series(publisher, name));
    }
    CHECK(dotter_dot(dotter_series(publisher, "filler.199"), 1.0) == DOTTER_OK);

    struct dotter_counts counts = DOTTER_COUNTS;
    CHECK(dotter_counts(publisher, &counts) == DOTTER_OK);
    CHECK(counts.published == THREADS * DOTS + 5 && counts.refused_series == 1);
    CHECK(counts.refused_signal_handler == 0 && counts.refused_too_big == 2 && counts.refused_other == 0);
    counts.struct_bytes = 8;
    CHECK(dotter_counts(publisher, &counts) == DOTTER_SIZE);

    char path[4096], start[8];
    int length = dotter_path(publisher, path, sizeof path);
    CHECK(length > 0 && (size_t)length == strlen(path) && access(path, F_OK) == 0);
    CHECK(dotter_path(publisher, NULL, 0) == length);
    CHECK(dotter_path(publisher, start, sizeof start) == length);
    CHECK(strlen(start) == 7 && strncmp(start, path, 7) == 0);

    /* An exact name has one living owner, this very process too. */
    snprintf(path, sizeof path, "%s/exact", dir);
    struct dotter *first = dotter_create(path, 1);
    CHECK(first && dotter_create(path, 1) == NULL && dotter_last_code() == DOTTER_OWNED);
    CHECK(dotter_close(first) == DOTTER_OK);
    /* A lane keeps the ring open; it goes back where there is nobody left to take it. */
    CHECK(dotter_close(publisher) == DOTTER_OK);
    CHECK(dotter_lane_close(held) == DOTTER_OK);
    return 0;
}
