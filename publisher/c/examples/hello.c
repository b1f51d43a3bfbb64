/* Publishes ten dots. Watch them arrive: dotter-broker PATH 0.1 URL */
#include <dotter.h>
#include <stdio.h>

int main(int count, char **words) {
    struct dotter *publisher = count > 1 ? dotter_create(words[1], 1000) : dotter_open("hello");
    const struct dotter_series *greeting = dotter_series(publisher, "hello.greeting");
    if (!greeting) return fprintf(stderr, "hello: %s\n", dotter_last_error()), 1;
    for (int number = 0; number < 10; number++) dotter_dot(greeting, number);
    return dotter_close(publisher);
}
