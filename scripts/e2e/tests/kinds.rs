//! Every kind of record, from the call in an application to the row in the store, to the bit.

use std::ops::ControlFlow;

use dotter_dot::{TimeRange, Timestamp, Value};
use dotter_e2e::{Pipeline, until};
use dotter_publisher::Publisher;

const ROUNDS: u64 = 3_000;

/// Shows P15.
#[test]
fn what_is_published_is_stored_as_what_it_was_through_a_collector_that_is_killed() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    pipeline.start_broker();
    let publisher = Publisher::create(pipeline.ring(), 100_000).expect("a ring can be made");
    let signed = publisher.series_of::<i64>("kind.i64").expect("a series").unit("bytes");
    let unsigned = publisher.series_of::<u64>("kind.u64").expect("a series");
    let short = publisher.series_of::<f32>("kind.f32").expect("a series");
    let plain = publisher.series("kind.f64").expect("a series");
    let text = publisher.lines("kind.text").expect("a series");
    let row = publisher.row::<(u64, f64, i32)>("kind.row", &["pieces", "value", "change"]).expect("a series");
    let raw = publisher.bytes("kind.bytes").expect("a series");
    let bytes = |n: u64| [&[0, 0xff][..], &n.to_be_bytes()].concat()[..n as usize % 11].to_vec();
    let line = |n: u64| format!("line {n} {}", "ö".repeat(n as usize % 50));
    for n in 0..ROUNDS {
        let time = Timestamp::from_nanos(1_700_000_000_000_000_000 + n);
        signed.dot_at(time, i64::MIN + n as i64);
        unsigned.dot_at(time, u64::MAX - n);
        short.dot_at(time, f32::from_bits(0x7f80_0001 + n as u32));
        plain.dot_at(time, f64::from_bits(0xfff0_0000_0000_0001 + n));
        text.line_at(time, &line(n));
        row.dot_at(time, (n, -(n as f64), -(n as i32)));
        raw.dot_at(time, &bytes(n));
        if n == ROUNDS / 2 {
            pipeline.collector.take().expect("it runs").kill();
            pipeline.start_collector();
        }
    }
    let mut store = pipeline.store();
    let published = 7 * ROUNDS;
    until("all records", || {
        store.account(publisher.incarnation()).is_some_and(|account| account.stored() == published)
    });
    let account = store.account(publisher.incarnation()).expect("it was there a line above");
    assert_eq!((account.lost(), account.refused()), (0, 0));

    let snapshot = store.now();
    let mut scan = snapshot.scan();
    let mut check = |name: &str, format: &str, expected: &dyn Fn(u64, &[Value<'_>]) -> bool| {
        let mut n = 0;
        scan.rows(name, TimeRange::ALL, |found| {
            let values: Vec<_> = found.cells().collect();
            assert_eq!(found.time().nanos(), 1_700_000_000_000_000_000 + n, "{name}");
            assert_eq!(found.shape().format().as_str(), format, "{name}");
            assert!(expected(n, &values), "{name}, row {n}: {values:?}");
            n += 1;
            ControlFlow::Continue(())
        })
        .expect("the store can be read");
        assert_eq!(n, ROUNDS, "{name}");
    };
    let word = |values: &[Value<'_>]| values[0].to_word().expect("it is a number");
    check("kind.i64", "I", &|n, values| word(values) as i64 == i64::MIN + n as i64);
    check("kind.u64", "U", &|n, values| word(values) == u64::MAX - n);
    check("kind.f32", "f", &|n, values| word(values) == 0x7f80_0001 + n);
    check("kind.f64", "F", &|n, values| word(values) == 0xfff0_0000_0000_0001 + n);
    check("kind.text", "s", &|n, values| values == [Value::Text(&line(n))]);
    check("kind.bytes", "b", &|n, values| values == [Value::Bytes(&bytes(n))]);
    check("kind.row", "UFi", &|n, values| {
        values == [Value::U64(n), Value::F64(-(n as f64)), Value::I32(-(n as i32))]
    });
    let shape = snapshot.shape("kind.row").expect("it can be read").expect("it is there");
    assert_eq!(shape.columns().join(" "), "pieces value change");
    let shape = snapshot.shape("kind.i64").expect("it can be read").expect("it is there");
    assert_eq!(shape.unit(), "bytes");
}
