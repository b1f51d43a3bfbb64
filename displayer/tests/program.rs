//! The program over a real store that another process's code writes: what is committed is seen, streamed and drawn.

mod support;

use std::ffi::OsStr;
use std::io::BufRead;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{Duration, Instant};

use dotter_dot::{Cell, Dots, Format, Incarnation, Reason, SeriesName, Shape, Timestamp, put_row};
use dotter_store::{LaneRecords, Lost, RingPart, Transaction, Writer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use support::Displayer;

fn seconds_ago(seconds: u64) -> Timestamp {
    Timestamp::now().saturating_sub(Duration::from_secs(seconds))
}

fn commit(writer: &mut Writer, name: &str, dots: &[(Timestamp, f64)]) {
    let key = writer.series(&SeriesName::new(name).unwrap(), &Shape::number());
    let mut columns = Dots::default();
    dots.iter().for_each(|(time, value)| columns.push_number(key, false, *time, *value));
    writer.append(&Transaction { ring: None, lanes: &[], dots: &columns }).unwrap();
    writer.sync().unwrap();
}

#[test]
fn a_store_that_comes_later_is_followed_from_its_first_dot_on() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let displayer = Displayer::start(&dir);
    assert_eq!(displayer.get("/-/ready").0, 503);
    let mut writer = Writer::open(&dir).unwrap();
    displayer.wait_for("a store", |displayer| displayer.get("/-/ready").0 == 200);
    commit(&mut writer, "room.temperature", &[(seconds_ago(20), 20.5), (seconds_ago(10), 21.5)]);
    let render = "/render?target=room.*&from=-1min&format=json&noNullPoints=true";
    displayer.wait_for("the series", |displayer| {
        displayer.json("/metrics/find?query=room.*").as_array().is_some_and(|nodes| nodes.len() == 1)
    });
    displayer.wait_for("both dots", |displayer| {
        let answer = displayer.json(render);
        let points = answer[0]["datapoints"].as_array().cloned().unwrap_or_default();
        points.iter().map(|point| point[0].as_f64().unwrap()).eq([20.5, 21.5])
    });
}

#[test]
fn a_series_of_texts_is_there_without_a_number_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(root.path()).unwrap();
    commit(&mut writer, "a.number", &[(seconds_ago(10), 1.0)]);
    let displayer = Displayer::start(root.path());
    displayer.wait_for("the store", |displayer| displayer.get("/-/ready").0 == 200);
    let names = |displayer: &Displayer| displayer.json("/metrics/index.json");
    displayer.wait_for("the first series", |displayer| names(displayer) == json!(["a.number"]));
    let key = writer.series(&SeriesName::new("a.text").unwrap(), &Shape::from(Format::new("s").unwrap()));
    let mut row = Vec::new();
    put_row([dotter_dot::Value::Text("hello")], &mut row);
    let mut columns = Dots::default();
    columns.push(key, false, seconds_ago(5), Cell::Row(&row));
    writer.append(&Transaction { ring: None, lanes: &[], dots: &columns }).unwrap();
    writer.sync().unwrap();
    displayer.wait_for("both", |displayer| names(displayer) == json!(["a.number", "a.text"]));
    let dots = displayer.json("/dots?series=a.text&from=-1min");
    assert_eq!((&dots["series"][0]["count"], &dots["series"][0]["dots"]), (&json!(0), &json!([])));
    let points = displayer.json("/render?target=a.text&from=-1min&noNullPoints=1");
    assert_eq!(points, json!([]));
}

#[test]
fn a_viewer_is_told_of_each_dot_and_each_loss_once() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(root.path()).unwrap();
    commit(&mut writer, "a", &[(seconds_ago(9), 1.0)]);
    let displayer = Displayer::start(root.path());
    displayer.wait_for("the store", |displayer| displayer.get("/-/ready").0 == 200);
    let mut live = displayer.open("/live?series=a");
    let mut told = String::new();
    let mut read_until = |what: &str| {
        while !told.contains(what) {
            assert!(live.read_line(&mut told).unwrap() > 0, "the stream ended before {what}: {told}");
        }
    };
    read_until("event: hello");
    commit(&mut writer, "b", &[(seconds_ago(8), 3.25)]);
    commit(&mut writer, "a", &[(seconds_ago(7), 2.25)]);
    read_until("2.25");
    let lost = Lost { first: 0, next: 5, reason: Reason::LAPPED, times: None };
    let lanes = [LaneRecords { lane: 0, first: 0, next: 5, losses: vec![lost], ..LaneRecords::default() }];
    let ring = RingPart {
        incarnation: Incarnation([4; 16]),
        application: "test",
        now: Timestamp::now(),
        ..RingPart::default()
    };
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &Dots::default() }).unwrap();
    writer.sync().unwrap();
    read_until("event: loss");
    read_until("lapped");
    assert!(!told.contains("3.25"), "a series that was not asked for: {told}");
    let losses = displayer.json("/api/losses");
    assert_eq!(losses["lost"], 5);
}

#[test]
fn seals_and_compactions_do_not_show() {
    let root = tempfile::tempdir().unwrap();
    let displayer = {
        drop(Writer::open(root.path()).unwrap());
        Displayer::start(root.path())
    };
    displayer.wait_for("the store", |displayer| displayer.get("/-/ready").0 == 200);
    let begin = seconds_ago(100);
    for round in 0..10 {
        let mut writer = Writer::open(root.path()).unwrap();
        let dots: Vec<_> = (0..10)
            .map(|n| (begin.saturating_add(Duration::from_secs(round * 10 + n)), (round * 10 + n) as f64))
            .collect();
        commit(&mut writer, "steps", &dots);
        drop(writer);
        dotter_store::seal_all(root.path(), &|| false).unwrap();
    }
    let from = begin.saturating_sub(Duration::from_secs(1)).seconds_text();
    let path = format!("/dots?series=steps&from={from}&max=1000");
    let all = |displayer: &Displayer| {
        let answer = displayer.json(&path);
        let dots = answer["series"][0]["dots"].as_array().cloned().unwrap_or_default();
        dots.iter().filter_map(|dot| dot[1].as_f64()).eq((0..100).map(f64::from))
    };
    displayer.wait_for("all dots", all);
    while dotter_store::compact(root.path(), &|| false).unwrap() {}
    assert!(all(&displayer), "after the compaction");
}

#[test]
fn a_token_that_is_there_and_is_none_is_an_error_and_nothing_is_served_without_it() {
    let dir = tempfile::tempdir().unwrap();
    for value in [&b""[..], b" ", b"\xff\xfe"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dotter-displayer"));
        command
            .arg("--data")
            .arg(dir.path())
            .env("DOTTER_TOKEN", OsStr::from_bytes(value))
            .env_remove("DOTTER_TOKEN_FILE");
        // An address at which a displayer without a token ends by itself, too.
        let output = command.args(["--listen", "0.0.0.0:0"]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{value:?}: {text}");
        assert!(text.contains("cannot take the token: $DOTTER_TOKEN"), "{value:?}: {text}");
    }
}

#[test]
fn asked_to_end_it_ends_in_good_order() {
    let root = tempfile::tempdir().unwrap();
    let mut displayer = Displayer::start(root.path());
    let begun = Instant::now();
    kill(Pid::from_raw(displayer.child.id() as i32), Signal::SIGTERM).unwrap();
    assert!(displayer.child.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(5));
}
