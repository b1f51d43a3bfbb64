//! Equal times: a dot stamped by the clock replaces nothing, a number that names its time replaces its equal, and lines of
//! text replace nothing.

use std::ops::ControlFlow;

use dotter_dot::{TimeRange, Timestamp, Value};
use dotter_e2e::{Pipeline, until};
use dotter_publisher::Publisher;

const THREADS: u64 = 4;
const DOTS: u64 = 50_000;

#[test]
fn dots_stamped_in_the_same_microsecond_are_all_kept_in_their_order() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    pipeline.start_broker();
    let publisher = Publisher::create(pipeline.ring(), DOTS).expect("a ring can be made");
    let series = publisher.series("burst").expect("there is room for a series");
    // A thread that was done before the next began would leave it its lane, which holds the dots of one.
    let all_have_one = std::sync::Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (series, all_have_one) = (&series, &all_have_one);
            scope.spawn(move || {
                series.dot((thread * DOTS) as f64);
                all_have_one.wait();
                (1..DOTS).for_each(|n| series.dot((thread * DOTS + n) as f64));
            });
        }
    });
    let mut store = pipeline.store();
    until("all dots", || store.dots("burst").len() as u64 == THREADS * DOTS);
    let dots = store.dots("burst");
    let mut last = [None; THREADS as usize];
    for (before, dot) in std::iter::once(None).chain(dots.iter().map(Some)).zip(&dots) {
        assert!(before.is_none_or(|before| before.time < dot.time), "times are given out one by one");
        let (thread, n) = (dot.value as u64 / DOTS, dot.value as u64 % DOTS);
        let last = &mut last[thread as usize];
        assert!(last.is_none_or(|last| last < n), "thread {thread}: {n} comes after {last:?}");
        *last = Some(n);
    }
    assert_eq!(last, [Some(DOTS - 1); THREADS as usize]);
    let micros = |index: usize| dots[index].time.nanos() / 1_000;
    assert!(
        (1..dots.len()).any(|index| micros(index - 1) == micros(index)),
        "some fell into one microsecond"
    );
}

#[test]
fn of_equal_given_times_the_last_one_counts_and_all_are_stored() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    pipeline.start_broker();
    let publisher = Publisher::create(pipeline.ring(), 5_000).expect("a ring can be made");
    let series = publisher.series("given").expect("there is room for a series");
    let time = Timestamp::now();
    (0..1_000).for_each(|n| series.dot_at(time, n as f64));
    series.dot_at(time.saturating_add(std::time::Duration::from_nanos(1)), -1.0);
    let mut store = pipeline.store();
    until("the last dot", || store.dots("given").len() == 2);
    let dots = store.dots("given");
    assert_eq!((dots[0].time, dots[0].value, dots[1].value), (time, 999.0, -1.0));
    let account = store.account(publisher.incarnation()).expect("the store has its dots");
    assert_eq!((account.stored(), account.lost(), account.refused()), (1_001, 0, 0));
}

#[test]
fn lines_that_name_one_time_come_back_line_for_line_at_that_time() {
    const LINES: u64 = 10_000;
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    pipeline.start_broker();
    let publisher = Publisher::create(pipeline.ring(), 2 * LINES).expect("a ring can be made");
    let log = publisher.lines("log").expect("there is room for a series");
    let time = Timestamp::from_secs(1_764_504_000).expect("it is before 2554");
    // Some are like others, and they come in many batches.
    let line = |n: u64| format!("line {}", n % 7_000);
    for n in 0..LINES {
        log.line_at(time, &line(n));
        if n % 1_000 == 0 {
            std::thread::yield_now();
        }
    }
    let mut store = pipeline.store();
    until("all lines", || {
        store.account(publisher.incarnation()).is_some_and(|account| account.stored() == LINES)
    });
    let mut found = 0;
    let check = |row: dotter_store::Row<'_>| {
        assert_eq!(row.time(), time);
        assert!(row.cells().eq([Value::Text(&line(found))]), "line {found}");
        found += 1;
        ControlFlow::Continue(())
    };
    store.now().scan().rows("log", TimeRange::ALL, check).expect("the store can be read");
    assert_eq!(found, LINES);
}
