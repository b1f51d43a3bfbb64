//! Rows that come with a claim: stored where the collector takes it, dropped where it is gone.

mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use dotter_store::{Claim, Reader};
use support::*;

/// Puts rows through the socket file, with a claim's name; status and text of the answer.
fn put(data: &Path, claim: &str, rows: &str) -> Reply {
    let mut socket = UnixStream::connect(data.join("collector.sock")).unwrap();
    let length = rows.len();
    write!(socket, "PUT / HTTP/1.0\r\nDotter-Claim: {claim}\r\nContent-Length: {length}\r\n\r\n{rows}")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), text.to_owned())
}

/// The rows of one number of series `a`.
fn found(data: &Path) -> Vec<(u64, f64)> {
    dots(&snapshot(data), "a")
}

#[test]
fn rows_are_stored_where_their_claim_is_taken_and_dropped_where_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let collector = Collector::start(data);
    let claim = Claim::make(data).unwrap();
    let name = claim.name().to_string();
    assert_eq!(put(data, &name, "a 1 1\n"), (201, "{\"stored\":1,\"durable\":true}".into()));
    assert!(!claim.withdraw().unwrap(), "the collector has it");
    // The same request again, as one that lay unread would come: its claim is gone.
    let (status, text) = put(data, &name, "a 1 2\n");
    assert!(status == 410 && text.contains("nothing stored"), "{status} {text}");

    let claim = Claim::make(data).unwrap();
    let name = claim.name().to_string();
    assert!(claim.withdraw().unwrap());
    assert_eq!(put(data, &name, "a 2 2\n").0, 410);

    // Of a sender that was killed: the file is there, and nobody has it locked.
    std::fs::write(data.join("claim/00000000000000ff"), "").unwrap();
    assert_eq!(put(data, "00000000000000ff", "a 3 3\n").0, 410);
    assert_eq!(found(data), [(1, 1.0)]);
    assert_eq!(collector.metric("claims_gone_total"), 3.0);
    assert_eq!(std::fs::read_dir(data.join("claim")).unwrap().count(), 0);
}

#[test]
fn a_claim_outlives_what_is_refused_before_the_rows_are_appended() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let _collector = Collector::with(data, &["--graphite", "off", "--max-series", "1"]);
    let claim = Claim::make(data).unwrap();
    let name = claim.name().to_string();
    let (status, text) = put(data, &name, "a 1 1\nb 1 1\n");
    assert!(status == 422 && text.contains("--max-series"), "{status} {text}");
    assert_eq!(put(data, &name, "a 1 Q 1\n").0, 400);
    assert!(claim.withdraw().unwrap(), "the sender may go another way");
    for name in ["", "../MANIFEST", "0123456789ABCDEF", "0123456789abcdef0"] {
        let (status, text) = put(data, name, "a 1 1\n");
        assert!(status == 400 && text.contains("16 hex digits"), "'{name}': {status} {text}");
    }
    assert!(Reader::open(data).unwrap().snapshot().read("a", dotter_dot::TimeRange::ALL).unwrap().is_empty());
    assert!(data.join("MANIFEST").exists());
}

/// Rows that are too many for a frame of the log become a segment, after their claim was taken.
#[test]
fn rows_too_many_for_a_frame_that_cannot_be_kept_are_said_to_be_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let _collector = Collector::with(data, &["--graphite", "off", "--max-body", "64MiB"]);
    let rows: String = (0..1_200_000).map(|time| format!("a {time} 1\n")).collect();
    let (seg, away) = (data.join("seg"), data.join("seg.away"));
    std::fs::rename(&seg, &away).unwrap();
    std::fs::write(&seg, b"no folder").unwrap();
    let claim = Claim::make(data).unwrap();
    let (status, text) = put(data, &claim.name().to_string(), &rows);
    assert!(status == 410 && text.starts_with("nothing stored: "), "{status} {text}");
    assert!(!claim.withdraw().unwrap(), "its claim was taken");
    std::fs::remove_file(&seg).unwrap();
    std::fs::rename(&away, &seg).unwrap();
    assert_eq!(found(data), []);
    let claim = Claim::make(data).unwrap();
    assert_eq!(put(data, &claim.name().to_string(), &rows).0, 201);
    assert_eq!(found(data).len(), 1_200_000);
}
