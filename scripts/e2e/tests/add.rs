//! `dotter-store` beside a collector that is running: rows go through its socket file.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use dotter_e2e::{Pipeline, program};

const ROWS: &str = "\
web.access 3000000000 sUF /shop/cart 503 12.5
web.access 1000000000 sUF /shop\\ old 200 0.5
web.access 2000000000 sUF /static/a.css 200 1.25
web.error 2000000000 s upstream\\ timed\\ out\\n(110)
host.load 2000000000 0.75
host.requests 2000000000 U 9007199254740993
";

/// Gives `input` to a command of the store, which must succeed.
#[track_caller]
fn give(data: &Path, arguments: &[&str], input: &str) {
    let mut command = Command::new(program("dotter-store"));
    command.env_remove("DOTTER_DATA").arg("-d").arg(data).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("a child can be waited for");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn rows_go_through_the_collector_that_is_running() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    give(pipeline.data(), &["add"], ROWS);
    assert_eq!(pipeline.ask_store(&["read", "%"]).lines().count(), 6);
    let stat = pipeline.ask_store(&["stat", "--json"]);
    let stat: serde_json::Value = serde_json::from_str(&stat).expect("it prints JSON");
    assert_eq!((&stat["wal_dots"], &stat["segments"]), (&6.into(), &0.into()));
    // Names of columns are not in the text of rows, so such go past it.
    give(pipeline.data(), &["add", "--columns", "took", "--unit", "ms"], "b 1 1\n");
    let csv = pipeline.ask_store(&["read", "b", "--csv", "--timestamp-nanos"]);
    assert_eq!(csv, "series,time,took\nb,1,1\n");
    pipeline.ask_store(&["delete", "web.%"]);
    assert_eq!(pipeline.ask_store(&["read", "%"]).lines().count(), 3);
}
