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
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && raise(SIGUSR1) == 0);

    /* A child has a ring of its own. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const struct dotter_series *own = dotter_series(publisher, "child");
        CHECK(own && dotter_dot_at(own, 7, 7.0) == DOTTER_OK && dotter_dot_at(given, 8, 8.0) == DOTTER_OK);
        CHECK(dotter_close(publisher) == DOTTER_OK);
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
    CHECK(counts.published == THREADS * DOTS + 4 && counts.refused_series == 1);
    CHECK(counts.refused_signal_handler == 0 && counts.refused_too_big == 0 && counts.refused_other == 0);
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
    CHECK(dotter_close(publisher) == DOTTER_OK);
    return 0;
}
