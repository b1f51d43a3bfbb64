//! A collector that was killed with a full log is back within a second.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dotter_dot::{Dots, SeriesName, Shape, Timestamp};
use dotter_e2e::{Pipeline, post};
use dotter_store::{Transaction, Writer};

/// As much as waits for seal when a collector is busy.
const LOG_BYTES: u64 = 26 << 20;
const SERIES: u32 = 500;
const FRAME_DOTS: u32 = 10_000;

/// Not a test by itself: what the parent runs in a process of its own, to kill it.
#[test]
#[ignore = "started by other tests"]
fn write_in_a_child() {
    let dir = std::env::var("DOTTER_TEST_STORE").expect("another test starts this one");
    let mut writer = Writer::open(Path::new(&dir)).expect("a new store can be made");
    let keys: Vec<_> = (0..SERIES)
        .map(|n| {
            writer.series(
                &SeriesName::new(&format!("full.log.{n}")).expect("it is a good name"),
                &Shape::number(),
            )
        })
        .collect();
    let (start, mut dots, mut count) = (Timestamp::now().nanos(), Dots::default(), 0_u64);
    while writer.unsealed().bytes < LOG_BYTES {
        dots.clear();
        for _ in 0..FRAME_DOTS {
            let key = keys[(count % SERIES as u64) as usize];
            // Values that no compression makes small.
            let value =
                f64::from_bits(0x3ff0_0000_0000_0000 | count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12);
            dots.push_number(key, true, Timestamp::from_nanos(start + count * 1_000), value);
            count += 1;
        }
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).expect("there is room");
        writer.sync().expect("the disk works");
    }
    println!("written {count}");
    // Killed by the parent.
    loop {
        std::thread::park();
    }
}

#[test]
fn a_collector_killed_with_a_full_log_is_ready_within_a_second() {
    let mut pipeline = Pipeline::new();
    let mut child = Command::new(std::env::current_exe().expect("a running program has a file"))
        .args(["--ignored", "--exact", "write_in_a_child", "--nocapture", "--test-threads=1"])
        .env("DOTTER_TEST_STORE", pipeline.data())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started again");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let count = stdout.lines().map_while(Result::ok).find_map(|line| {
        let (_, count) = line.split_once("written ")?;
        count.parse::<u64>().ok()
    });
    child.kill().expect("it runs");
    child.wait().expect("a child can be waited for");
    let count = count.expect("the child wrote its dots");

    let took = pipeline.start_collector();
    println!("ready {took:?} after kill -9 with {count} dots in {} MiB of log", LOG_BYTES >> 20);
    assert!(took < Duration::from_secs(1), "ready after {took:?}");
    let time = Timestamp::now().as_secs_f64();
    let reply = post(pipeline.collector_address(), "/data?series=data", &format!("[[{time}, 1]]"))
        .expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let mut store = pipeline.store();
    let stored: usize = (0..SERIES).map(|n| store.dots(&format!("full.log.{n}")).len()).sum();
    assert_eq!(stored as u64, count);
}
