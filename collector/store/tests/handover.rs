//! `dotter-store add` beside a collector that answers at the wrong moment, or not at all.
//!
//! The other end of the socket is the test's: it does what the collector does up to the moment in which it would be
//! killed or fail. Real collectors are stopped and killed in `scripts/e2e/tests/claims.rs`.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use dotter_store::{ClaimName, take_claim};
use nix::sys::socket::{Backlog, listen};
use support::{printed, run};

/// Reads one request with the row `a 1 1` to its end; the socket and the name of its claim.
fn request(listener: &UnixListener) -> (UnixStream, ClaimName) {
    let (mut socket, _) = listener.accept().unwrap();
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    while !bytes.ends_with(b"a\t1\tF\t1\n") {
        let count = socket.read(&mut piece).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..count]);
    }
    let text = String::from_utf8(bytes).unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("Dotter-Claim: ")).unwrap();
    (socket, ClaimName::parse(name).unwrap())
}

/// Adds a row through a collector that takes the claim or does not, then gives `answer`, empty for none, and hangs up.
///
/// - `code`: the exit status of the command
/// - `is_stored`: whether the row is in the store then; nothing here stores it but the command itself
#[track_caller]
fn check(takes: bool, answer: &str, code: i32, says: &str, is_stored: bool) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    assert!(run(data, &["add"], "b 1 1\n").status.success());
    let listener = UnixListener::bind(data.join("collector.sock")).unwrap();
    let output = std::thread::scope(|scope| {
        let adding = scope.spawn(|| run(data, &["add"], "a 1 1\n"));
        let (mut socket, claim) = request(&listener);
        if takes {
            assert!(take_claim(data, claim).unwrap());
        }
        socket.write_all(answer.as_bytes()).unwrap();
        drop(socket);
        adding.join().unwrap()
    });
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{takes} {answer}: {said}");
    assert!(said.contains(says), "{takes} {answer}: {said}");
    assert_eq!(
        printed(data, &["read", "a"]) == "a\t1970-01-01T00:00:00.000000001Z\t1\n",
        is_stored,
        "{answer}"
    );
    assert_eq!(claims(data), 0, "{takes} {answer}");
}

fn claims(data: &Path) -> usize {
    fs::read_dir(data.join("claim")).unwrap().count()
}

fn answer(status: &str, text: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

/// Fault B4.
#[test]
fn rows_whose_claim_is_taken_go_no_other_way() {
    check(true, &answer("201 Created", "{}"), 0, "stored 1 dots", false);
    let unknown = "handed over, outcome unknown: no answer from the collector: connection closed";
    check(true, "", 1, unknown, false);
    check(true, "HTTP/1.1 20", 1, unknown, false);
    let unknown = "handed over, outcome unknown: the collector answered 503: it failed";
    check(true, &answer("503 Service Unavailable", "it failed\n"), 1, unknown, false);
    check(true, &answer("408 Request Timeout", ""), 1, "handed over, outcome unknown", false);
    // Dropped for good, though the claim is taken.
    check(true, &answer("410 Gone", "nothing stored: no room\n"), 0, "stored 1 dots", true);
}

#[test]
fn rows_whose_claim_is_withdrawn_go_another_way_or_are_refused() {
    for status in
        ["408 Request Timeout", "413 Content Too Large", "429 Too Many Requests", "503 Failed", "410 Gone"]
    {
        check(false, &answer(status, ""), 0, "stored 1 dots", true);
    }
    check(false, "", 0, "stored 1 dots", true);
    check(false, &answer("422 No", "too many"), 1, "status 422: too many; nothing was stored", false);
    // A segment would go to the same disk.
    let says = "status 507: below the disk reserve; nothing was stored";
    check(false, &answer("507 Insufficient Storage", "below the disk reserve\n"), 1, says, false);
}

/// The collector took the claim, and its disk is slow: the answer comes after the time in which rows go another way.
#[test]
fn a_late_answer_is_waited_for_where_the_claim_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    assert!(run(data, &["add"], "b 1 1\n").status.success());
    let listener = UnixListener::bind(data.join("collector.sock")).unwrap();
    let output = std::thread::scope(|scope| {
        let adding = scope.spawn(|| run(data, &["add"], "a 1 1\n"));
        let (mut socket, claim) = request(&listener);
        assert!(take_claim(data, claim).unwrap());
        // The first 10 s must be over, and nothing can be seen of that from here.
        std::thread::sleep(Duration::from_millis(11_000));
        assert!(!adding.is_finished());
        socket.write_all(answer("201 Created", "{}").as_bytes()).unwrap();
        drop(socket);
        adding.join().unwrap()
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(printed(data, &["read", "a"]), "", "it went no other way");
}

/// A collector that stands still while its queue of connections is full keeps nobody waiting for ever.
#[test]
fn rows_go_another_way_where_no_connection_comes_about() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    assert!(run(data, &["add"], "b 1 1\n").status.success());
    let path = data.join("collector.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // One connection may wait.
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let output = run(data, &["add"], "a 1 1\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(printed(data, &["read", "a"]).lines().count(), 1);
    assert!(!data.join("claim").exists(), "nothing was handed over");
}

/// A purge beside a process that writes the log, whose collector answers so.
#[track_caller]
fn purge(answer: &str) -> std::process::Output {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    assert!(run(data, &["add"], "a 1 1\n").status.success());
    let listener = UnixListener::bind(data.join("collector.sock")).unwrap();
    let mut writer = dotter_store::Writer::open(data).unwrap();
    let key = writer.series(&dotter_dot::SeriesName::new("a").unwrap(), &dotter_dot::Shape::number());
    let mut dots = dotter_dot::Dots::default();
    dots.push_number(key, false, dotter_dot::Timestamp::from_nanos(2), 2.0);
    let transaction = dotter_store::Transaction { ring: None, lanes: &[], dots: &dots };
    writer.append(&transaction).unwrap();
    writer.sync().unwrap();
    let output = std::thread::scope(|scope| {
        let purging = scope.spawn(|| run(data, &["delete", "a", "--purge"], ""));
        let (mut socket, _) = listener.accept().unwrap();
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        while !bytes.ends_with(b"\r\n\r\n") {
            let count = socket.read(&mut piece).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&piece[..count]);
        }
        assert!(bytes.starts_with(b"POST /-/close-file HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&bytes));
        if answer.contains("200") {
            writer.close_file().unwrap();
        }
        socket.write_all(answer.as_bytes()).unwrap();
        drop(socket);
        purging.join().unwrap()
    });
    assert_eq!(printed(data, &["read", "a"]), "", "the rows are hidden in any case");
    output
}

#[test]
fn a_purge_has_the_log_closed_by_the_process_that_writes_it_or_says_that_bytes_are_left() {
    let output = purge(&answer("200 OK", "closed\n"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("2 rows removed"), "{said}");

    let output = purge(&answer("404 Not Found", "no such page\n"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in
        ["nobody can read them, but their bytes are not all gone", "answered 404: no such page", "repeat"]
    {
        assert!(said.contains(part), "{said}");
    }
}
