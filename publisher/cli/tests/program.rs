//! The program from outside: what it writes into rings, what it prints, how it ends.

mod outside;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use dotter_ring::{Drained, LaneCursor, RingReader};
use serde_json::Value;

use outside::{name_of, program, read, run, terminate};

#[test]
fn every_dot_of_a_load_follows_from_its_lane_and_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let output = run(&["load", path.to_str().unwrap(), "--lanes", "2", "--dots", "5000", "--series", "3"]);
    assert!(output.status.success());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["published"], &said["refused"]), (&serde_json::json!([5000, 5000]), &Value::from(0)));
    let (mut ring, lanes) = read(&path);
    assert_eq!(said["incarnation"], ring.incarnation().to_string());
    assert!(ring.is_closed());
    for (lane, out) in lanes.iter().take(2).enumerate() {
        assert_eq!(out.dots.len(), 5000);
        for (number, dot) in out.dots.iter().enumerate() {
            assert_eq!(dot.value, (lane as u64 * (1 << 32) + number as u64) as f64);
            assert_eq!(dot.clock, number % 2 == 0);
            assert_eq!(name_of(&mut ring, dot.series), format!("load.l{lane}.s{}", number % 3));
        }
    }
}

#[test]
fn a_load_that_is_stopped_says_how_far_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let args = ["load", path.to_str().unwrap(), "--dots", "1000", "--hold"];
    let mut child = program(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(talk.any(|line| line.unwrap().contains("all dots written")));
    let ring = RingReader::open(&path).unwrap();
    assert!(!ring.is_closed());
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["published"], serde_json::json!([1000]));
    assert!(ring.is_closed());
}

#[test]
fn lines_of_standard_input_become_dots_and_bad_ones_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let mut child = program(&["stdin", path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = b"room\\ 1 21.5 1710504000.25\nroom\\ 1 22\nroom x\n\nroom 1 1710504001 more\n";
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let talk = String::from_utf8(output.stderr).unwrap();
    let expected = "2 dots published, 0 refused, 2 bad lines: 1 not 2 or 3 fields, 1 no value\n";
    assert!(talk.ends_with(expected), "{talk}");
    let (mut ring, lanes) = read(&path);
    let dots = &lanes[0].dots;
    assert_eq!(
        (dots[0].time.nanos(), dots[0].value, dots[0].clock),
        (1_710_504_000_250_000_000, 21.5, false)
    );
    assert_eq!((dots[1].value, dots[1].clock), (22.0, true));
    assert_eq!(name_of(&mut ring, dots[1].series), "room 1");
}

#[test]
fn standard_input_that_says_nothing_does_not_keep_it_from_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let mut child = program(&["stdin", path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(talk.next().unwrap().unwrap().contains("publishing standard input"));
    terminate(&child);
    assert!(child.wait().unwrap().success());
    assert!(RingReader::open(&path).unwrap().is_closed());
}

#[test]
fn a_walk_goes_on_until_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let args = [path.to_str().unwrap(), "5000", "--rate", "1000"];
    let mut child = program(&args).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(talk.next().unwrap().unwrap().contains("walking at 1000 dots a second"));
    let ring = RingReader::open(&path).unwrap();
    while ring.next_record(0) < 20 {
        std::thread::yield_now();
    }
    terminate(&child);
    assert!(child.wait().unwrap().success());
    let (mut ring, lanes) = read(&path);
    assert_eq!(name_of(&mut ring, lanes[0].dots[0].series), "data");
    assert!(lanes[0].dots.windows(2).all(|pair| (pair[0].value - pair[1].value).abs() <= 1.0));
    assert!(lanes[0].dots.is_sorted_by_key(|dot| dot.time));
    assert_eq!(ring.lane_capacity_bytes(), 128 << 10);
}

#[test]
fn the_host_speaks_of_processors_memory_and_network() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let args = ["host", "--interval", "50ms", path.to_str().unwrap()];
    let mut child = program(&args).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(talk.next().unwrap().unwrap().contains("publishing host."));
    let mut ring = RingReader::open(&path).unwrap();
    let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
    let times =
        |out: &Drained| out.dots.iter().map(|dot| dot.time).collect::<std::collections::BTreeSet<_>>().len();
    while times(&out) < 4 {
        cursor.drain(&mut ring, usize::MAX, &mut out);
        std::thread::yield_now();
    }
    terminate(&child);
    assert!(child.wait().unwrap().success());
    let names: Vec<String> = out.dots.iter().map(|dot| name_of(&mut ring, dot.series)).collect();
    for wanted in [".cpu.user", ".cpu.idle", ".load.1m", ".memory.used", ".net.lo.in.bytes", ".ip.in.packets"]
    {
        assert!(names.iter().any(|name| name.ends_with(wanted)), "{wanted}");
    }
}

#[test]
fn a_name_in_use_is_an_error_that_names_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let mut child = program(&["walk", path.to_str().unwrap(), "1"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(talk.next().is_some());
    let output = run(&["walk", path.to_str().unwrap(), "1"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("process {} publishes there", child.id())), "{text}");
    terminate(&child);
    child.wait().unwrap();
}

#[test]
fn a_measurement_prints_json_lines_and_leaves_no_ring() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["bench", dir.path().to_str().unwrap(), "4000"]);
    assert!(output.status.success());
    let rows: Vec<Value> =
        output.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(rows.iter().any(|row| row["what"] == "dot_at, by lane" && row["ns_median"].as_f64() > Some(0.0)));
    let reader = rows.last().unwrap();
    let number = |key: &str| reader[key].as_u64().unwrap();
    assert_eq!(number("written"), number("seen") + number("lost"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn help_has_examples_and_wrong_usage_is_two() {
    for task in [&[][..], &["host"], &["walk"], &["stdin"], &["bench"], &["load"]] {
        let output = run(&[task, &["--help"]].concat());
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("Examples:"), "{task:?}");
    }
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["nonsense"]).status.code(), Some(2));
    assert!(run(&["--version"]).status.success());
}
