//! Rows of any format: from brokers, as lines over HTTP and through the socket file, and out again.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use dotter_dot::{Incarnation, Reason, TimeRange, Value, put_row};
use dotter_wire::SeriesEntry;
use support::*;

const RING: Incarnation = Incarnation([9; 16]);

/// Status and body of a request that is written out by hand.
fn ask(mut socket: impl Read + Write, method: &str, target: &str, body: &str) -> Reply {
    let head = format!("{method} {target} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    let head = if body.is_empty() { format!("{method} {target} HTTP/1.0\r\n\r\n") } else { head };
    socket.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The rows of a series as the store has them: nanoseconds, format, values.
fn rows(data: &Path, name: &str) -> Vec<(u64, String, String)> {
    let mut found = Vec::new();
    let mut scan = snapshot(data).scan();
    scan.rows(name, TimeRange::ALL, |row| {
        let values: Vec<String> = row.cells().map(|value| format!("{value:?}")).collect();
        found.push((row.time().nanos(), row.shape().format().to_string(), values.join(" ")));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    found
}

/// Shows P29.
#[test]
fn rows_are_put_in_one_transaction_and_given_out_by_key_prefix_and_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let connect = || std::net::TcpStream::connect(collector.http()).unwrap();
    let put = |body: &str| ask(connect(), "PUT", "/", body);
    let get = |target: &str| ask(connect(), "GET", target, "");
    let body = "b\\ c 2 Fs 1.5 a\\ line\na 1 F 2.5\na.x 18446744073709551615 U 18446744073709551615\na 0 1\n";
    assert_eq!(put(body), (201, "{\"stored\":4,\"durable\":true}".into()));
    // Not in order, and read at once, out of the log.
    assert_eq!(get("/store/a"), (200, "a\t0\t1\na\t1\t2.5\n".into()));
    assert_eq!(get("/a").1, "a\t0\t1\na\t1\t2.5\n");
    assert_eq!(get("/store/b%20c").1, "b\\ c\t2\tFs\t1.5 a\\ line\n");
    assert_eq!(get("/store/a%25").1.lines().count(), 3, "'%' stands as %25 in an address");
    assert_eq!(get("/store/%25").1.lines().count(), 4);
    assert_eq!(get("/store/%25x").1, "a.x\t18446744073709551615\tU\t18446744073709551615\n");
    assert_eq!(get("/store/a?after=1").1, "a\t1\t2.5\n");
    assert_eq!(get("/store/a?before=1").1, "a\t0\t1\n");
    assert!(get("/store/a?human").1.starts_with("a\t1970-01-01T00:00:00"), "{}", get("/store/a?human").1);
    assert_eq!(get("/store/a?format").1, "a\t0\tF\t1\na\t1\tF\t2.5\n");
    assert_eq!(get("/store/unknown"), (200, String::new()));
    // In an address '\%' stands as %5C%25.
    assert_eq!(put("used% 1 5\nused%x 1 6\n").0, 201);
    assert_eq!(get("/store/used%25").1, "used%\t1\t5\nused%x\t1\t6\n");
    assert_eq!(get("/store/used%5C%25").1, "used%\t1\t5\n");
    assert_eq!((get("/used%5C%25").0, get("/used%5C%25y").0), (200, 404));
    assert_eq!(ask(connect(), "DELETE", "/store/used%5C%25", "").0, 200);
    assert_eq!(get("/store/used%25").1, "used%x\t1\t6\n");
    assert_eq!(get("/unknown").0, 404);
    assert_eq!(get("/store/a?after=yesterday").0, 400);
    // As curl -T sends a file.
    assert_eq!(ask(connect(), "PUT", "/rows.txt", "d 1 1\n").0, 201);
    assert_eq!(get("/d").1, "d\t1\t1\n");
    assert_eq!(ask(connect(), "PUT", "/data", "d 1 1\n").0, 405);
    // A bad line: nothing of it.
    let (status, text) = put("c 1 1\nc 2 i 2147483648\n");
    assert!(status == 400 && text.contains("line 2") && text.contains("nothing stored"), "{status} {text}");
    assert_eq!(rows(dir.path(), "c"), []);
    // Another format at the same time. A text replaces no number: it stands before it.
    assert_eq!(put("a 1 s one\n").0, 201);
    let row = |time, letters: &str, value: &str| (time, letters.to_owned(), value.to_owned());
    let all = [row(0, "F", "F64(1.0)"), row(1, "s", "Text(\"one\")"), row(1, "F", "F64(2.5)")];
    assert_eq!(rows(dir.path(), "a"), all);
    assert_eq!(ask(connect(), "DELETE", "/store/a?after=1", "").0, 200);
    until("the deletion is seen", || get("/store/a").1 == "a\t0\t1\n");
    assert_eq!(ask(connect(), "POST", "/store/a", "x").0, 405);
}

#[test]
fn lines_of_one_second_are_given_out_line_for_line_and_a_post_that_is_repeated_adds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let connect = || std::net::TcpStream::connect(collector.http()).unwrap();
    let line = |n: u64| format!("log {} s line\\ {}\n", n / 10_000 * 1_000_000_000, n % 7_000);
    let body: String = (0..11_000).map(line).collect();
    let expected = body.replacen(' ', "\t", usize::MAX).replace("\\\t", "\\ ");
    for _ in 0..2 {
        assert_eq!(ask(connect(), "PUT", "/", &body).0, 201);
        assert!(ask(connect(), "GET", "/store/log?format", "").1 == expected);
    }
    // Half of it again, and a line that is new.
    let half: String = (5_500..11_001).map(line).collect();
    assert_eq!(ask(connect(), "PUT", "/", &half).0, 201);
    let found = ask(connect(), "GET", "/store/log?format", "").1;
    assert!(found.strip_prefix(&expected).is_some_and(|rest| rest == "log\t1000000000\ts\tline\\ 4000\n"));
}

#[test]
fn whoever_can_open_the_socket_file_needs_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let data = dir.path().join("data");
    let collector = Collector::with(&data, &["--graphite", "off", "--token-file", token.to_str().unwrap()]);
    let socket = data.join("collector.sock");
    let through_file = || UnixStream::connect(&socket).unwrap();
    let outside = || std::net::TcpStream::connect(collector.http()).unwrap();
    assert_eq!(ask(outside(), "PUT", "/", "a 1 1\n").0, 401);
    assert_eq!(ask(through_file(), "PUT", "/", "a 1 1\n").0, 201);
    assert_eq!(ask(outside(), "GET", "/store/a", "").0, 401);
    assert_eq!(ask(through_file(), "GET", "/store/a", "").1, "a\t1\t1\n");
    // One that was killed leaves its file, and the next one takes its place.
    collector.kill();
    assert!(UnixStream::connect(&socket).is_err());
    let collector = Collector::with(&data, &["--graphite", "off"]);
    assert_eq!(ask(UnixStream::connect(&socket).unwrap(), "GET", "/store/a", "").1, "a\t1\t1\n");
    collector.terminate();
    assert!(!socket.exists());
}

#[test]
fn a_long_answer_is_sent_as_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    const ROWS: usize = 60_000;
    let text = "x".repeat(40);
    let body: String = (0..ROWS).map(|n| format!("log {n} s {n}-{text}\n")).collect();
    let put = ask(std::net::TcpStream::connect(collector.http()).unwrap(), "PUT", "/", &body);
    assert_eq!(put.0, 201, "{}", put.1);
    let (status, found) = collector.get("/store/log");
    assert_eq!(status, 200);
    let expected: String = (0..ROWS).map(|n| format!("log\t{n}\ts\t{n}-{text}\n")).collect();
    assert!(found == expected, "{} bytes of {}", found.len(), expected.len());
}

#[test]
fn batches_carry_every_format_and_what_is_none_is_refused_by_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let series = |name: &str, format: &str, columns: &[&str]| SeriesEntry {
        name: name.into(),
        format: format.into(),
        unit: "u".into(),
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
    };
    let entries = vec![
        series("u", "U", &[]),
        series("i", "i", &[]),
        series("log", "s", &[]),
        series("row", "Fi", &["x", "y"]),
        series("no", "Q", &[]),
        series("columns", "F", &["x", "y"]),
        series("raw", "b", &[]),
        series("both", "bs", &[]),
    ];
    let mut lane = lane(0, 0, 14, 1);
    lane.series = vec![0, 1, 1, 2, 2, 3, 3, 4, 5, 0, 6, 6, 7, 7];
    let row = |values: &[Value<'_>]| {
        let mut row = Vec::new();
        put_row(values.iter().copied(), &mut row);
        row
    };
    lane.words = vec![
        u64::MAX,
        -5_i64 as u64,
        1 << 40,
        lane.rows.push(&row(&[Value::Text("a line")])),
        lane.rows.push(b"\x02\xff\xfe"),
        lane.rows.push(&row(&[Value::F64(-0.0), Value::I32(-1)])),
        lane.rows.push(&row(&[Value::F64(1.0)])),
        0,
        0,
        7,
        lane.rows.push(&row(&[Value::Bytes(&[0, 0xff])])),
        lane.rows.push(b"\x02\xff"),
        lane.rows.push(&row(&[Value::Bytes(&[0xfe]), Value::Text("x")])),
        lane.rows.push(b"\x01\xfe\x01\xff"),
    ];
    let (status, answer) = collector.send(&batch(RING, entries, vec![lane])).unwrap();
    assert_eq!((status, answer.lanes), (200, vec![(0, 14)]));
    let other = Reason::OTHER;
    assert_eq!(
        answer.refused,
        [(0, 2, 3, other), (0, 4, 5, other), (0, 6, 9, other), (0, 11, 12, other), (0, 13, 14, other)]
    );
    let found = |name: &str| -> Vec<_> {
        rows(dir.path(), name).into_iter().map(|(_, format, values)| (format, values)).collect()
    };
    let expected = |format: &str, values: &str| (format.to_owned(), values.to_owned());
    assert_eq!(found("u"), [expected("U", "U64(18446744073709551615)"), expected("U", "U64(7)")]);
    assert_eq!(found("i"), [expected("i", "I32(-5)")]);
    assert_eq!(found("log"), [expected("s", "Text(\"a line\")")]);
    assert_eq!(found("raw"), [expected("b", "Bytes([0, 255])")]);
    assert_eq!(found("both"), [expected("bs", "Bytes([254]) Text(\"x\")")]);
    assert_eq!(found("row"), [expected("Fi", "F64(-0.0) I32(-1)")]);
    let shape = snapshot(dir.path()).shape("row").unwrap().unwrap();
    assert_eq!((shape.unit(), shape.columns().join(",")), ("u", "x,y".to_owned()));
    let account = account(&snapshot(dir.path()), RING);
    assert_eq!((account.stored(), account.lost()), (7, 0));
}
