//! Standard input from outside: logs of several kinds go in, what stands in the ring is read back.

mod outside;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::SystemTime;

use dotter_ring::RingReader;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use outside::{name_of, program, read, run, terminate};

/// A dot as a test expects it: series, seconds since 1970, value.
type Expected<'a> = (&'a str, f64, f64);

/// 20/Nov/2026:13:55:30 +0100.
const START: f64 = 1_795_179_330.0;

/// Half a line of an access log, `second` seconds after [`START`].
fn request(second: u32) -> String {
    assert!(second < 30);
    let (user, browser) = (r#"10.0.0.1 - -"#, r#""GET /a HTTP/1.1" 200 612 "-" "curl/8.5 (x, y)""#);
    format!("{user} [20/Nov/2026:13:55:{:02} +0100] {browser}", 30 + second)
}

/// Everything the program publishes about an input, and what it says in the end.
fn publish(args: &[&str], input: &[u8]) -> (Vec<(String, f64, f64)>, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let mut child = program(&["stdin", path.to_str().unwrap()]);
    let mut child =
        child.args(args).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    let mut to = child.stdin.take().unwrap();
    // Beside the reading: neither pipe holds everything.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || to.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{talk}");
    (dots(&path), talk)
}

fn dots(path: &Path) -> Vec<(String, f64, f64)> {
    let (mut ring, lanes) = read(path);
    let dots = &lanes[0].dots;
    dots.iter().map(|dot| (name_of(&mut ring, dot.series), dot.time.as_secs_f64(), dot.value)).collect()
}

fn check(args: &[&str], input: &str, expected: &[Expected<'_>], totals: &str) {
    let (found, talk) = publish(args, input.as_bytes());
    let found: Vec<Expected<'_>> = found.iter().map(|(name, time, value)| (&**name, *time, *value)).collect();
    assert_eq!(found, expected, "{args:?}: {talk}");
    let last = talk.lines().last().unwrap();
    assert!(last.ends_with(totals), "{last}");
    assert!(!talk.contains('\x1b'), "only a terminal is drawn on: {talk}");
}

/// The program with its pipe still open.
struct Running {
    _dir: tempfile::TempDir,
    path: PathBuf,
    child: Child,
    input: ChildStdin,
    talk: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Running {
    fn start(args: &[&str]) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let mut child = program(&["stdin", path.to_str().unwrap()]);
        let mut child = child.args(args).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(talk.next().unwrap().unwrap().contains("publishing standard input"));
        Running { _dir: dir, path, child, input, talk }
    }

    fn stop(mut self) -> (Vec<(String, f64, f64)>, String) {
        terminate(&self.child);
        let last = self.talk.last().unwrap().unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(RingReader::open(&self.path).unwrap().is_closed());
        (dots(&self.path), last)
    }
}

#[test]
fn an_access_log_becomes_a_mean_a_second() {
    let lines = [
        format!("{} 0.100", request(0)),
        // No stray zero: the first mean is of two.
        format!("{} 0.300", request(0)),
        format!("{} -", request(0)),
        format!("{} 0.5, 0.25 : 0.25", request(1)),
        "nonsense".to_owned(),
        format!("{} 0.1x", request(1)),
        "".to_owned(),
        "10.0.0.1 - - [yesterday] \"GET /\" 0.1".to_owned(),
        // Out of order within the grace.
        format!("{} 0.8", request(0)),
        format!("{} 2.0", request(2)),
        // Nobody asked anything for a while: no dots, no zeros.
        format!("{} 4.0", request(9)),
        // Out of order beyond the grace.
        format!("{} 9.0", request(1)),
        // No end of line.
        format!("{} 6.0", request(9)),
    ];
    let name = "nginx.request_time";
    check(
        &["--input", "nginx"],
        &lines.join("\n"),
        &[
            (name, START, (0.1 + 0.3 + 0.8) / 3.0),
            (name, START + 1.0, 1.0),
            (name, START + 2.0, 2.0),
            (name, START + 9.0, 5.0),
        ],
        "12 lines read, 4 dots published, 0 refused, 1 without a measurement, 1 too late, 3 bad lines: 2 no value, \
         1 no time",
    );
}

#[test]
fn a_bad_line_shows_in_the_log_once_a_second() {
    let input = "\n".to_owned() + &"no such thing\r\n".repeat(1000) + &format!("{} 1\n", request(0));
    let (dots, talk) = publish(&["--input", "nginx", "--series", "shop.time"], input.as_bytes());
    assert_eq!(dots, [("shop.time".to_owned(), START, 1.0)]);
    assert!(talk.contains("line 2 is left out: no value: 'no such thing'"), "{talk}");
    assert!(talk.lines().count() < 100, "{talk}");
    assert!(talk.ends_with("1001 lines read, 1 dots published, 0 refused, 1000 bad lines: 1000 no value\n"));
}

#[test]
fn every_aggregation_does_what_its_name_says() {
    let input: String = (1..=1000).rev().map(|n| format!("{} {n}\n", request(5))).collect();
    let name = "nginx.request_time";
    for (aggregation, value) in [
        ("mean", 500.5),
        ("max", 1000.0),
        ("min", 1.0),
        ("sum", 500_500.0),
        ("count", 1000.0),
        ("p99", 990.0),
    ] {
        let aggregation = format!("{aggregation}:1s");
        let args = ["--input", "nginx", "--agg", &aggregation];
        check(&args, &input, &[(name, START + 5.0, value)], "1 dots published, 0 refused, 0 bad lines");
    }
    let (dots, _) = publish(&["--input", "nginx", "--agg", "none"], input.as_bytes());
    assert_eq!(dots.len(), 1000);
    assert_eq!(dots[0], (name.to_owned(), START + 5.0, 1000.0));
}

#[test]
fn a_byte_order_mark_before_the_first_line_is_no_part_of_its_series() {
    check(
        &[],
        "\u{feff}a 1.5 1710504000\na 2.5 1710504001\n",
        &[("a", 1_710_504_000.0, 1.5), ("a", 1_710_504_001.0, 2.5)],
        "2 lines read, 2 dots published, 0 refused, 0 bad lines",
    );
}

#[test]
fn a_percentile_of_very_many_is_near() {
    let input: String = (1..=50_000).map(|n| format!("a {n} 1710504000\n")).collect();
    let (dots, _) = publish(&["--agg", "p99.9:1s"], input.as_bytes());
    assert_eq!(dots.len(), 1);
    assert!((dots[0].2 / 49_950.0 - 1.0).abs() < 0.0051, "{dots:?}");
}

#[test]
fn lines_with_an_aggregation_keep_their_series_apart() {
    check(
        &["--agg", "mean:10s"],
        "a 1 1710504000\nb 10 1710504001.5\na 3 2024-03-15T12:00:09.9Z\nb 30 2024-03-15T13:00:10+01:00\n",
        &[("a", 1_710_504_000.0, 2.0), ("b", 1_710_504_000.0, 10.0), ("b", 1_710_504_010.0, 30.0)],
        "4 lines read, 3 dots published, 0 refused, 0 bad lines",
    );
}

#[test]
fn a_pattern_finds_series_time_and_value() {
    let pattern = r"^(?<time>\S+) (?<series>\w+) took (?<value>\S+) ms$";
    check(
        &["--regex", pattern],
        "1710504000.5 query took 12.5 ms\nstarting\n1710504001 query took - ms\nnoon query took 1 ms\n\
         2024-03-15T12:00:02Z insert took 3 ms\n",
        &[("query", 1_710_504_000.5, 12.5), ("insert", 1_710_504_002.0, 3.0)],
        "5 lines read, 2 dots published, 0 refused, 1 without a measurement, 2 bad lines: 1 not as the pattern says, \
         1 no time",
    );
    check(
        &["--regex", r"(?P<time>\d+): (?P<value>\d+)", "--series", "a b", "--agg", "sum:1s"],
        "1710504000: 1\n1710504000: 2\n",
        &[("a b", 1_710_504_000.0, 3.0)],
        "2 lines read, 1 dots published, 0 refused, 0 bad lines",
    );
}

#[test]
fn an_idle_log_still_gives_its_last_second() {
    let mut running = Running::start(&["--agg", "count:1s"]);
    let ring = RingReader::open(&running.path).unwrap();
    running.input.write_all(b"a 1\na 1\nb 1\n").unwrap();
    // Nothing more comes, and the pipe stays open.
    while ring.next_record(0) < 2 {
        std::thread::yield_now();
    }
    let (dots, last) = running.stop();
    let counts: Vec<(&str, f64)> = dots.iter().map(|(name, _, value)| (&**name, *value)).collect();
    assert_eq!(counts, [("a", 2.0), ("b", 1.0)]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - 60.0..now).contains(&dots[0].1) && dots[0].1.fract() == 0.0, "{dots:?}");
    assert!(last.ends_with("3 lines read, 2 dots published, 0 refused, 0 bad lines"), "{last}");
}

#[test]
fn being_asked_to_stop_publishes_what_is_there_but_no_half_line() {
    let mut running = Running::start(&["--input", "nginx"]);
    let input = format!("{} 1\n{} 2\n?\n{} 3", request(0), request(1), request(2));
    running.input.write_all(input.as_bytes()).unwrap();
    // The bad line has been read, and with it what stands before it.
    assert!(running.talk.next().unwrap().unwrap().contains("line 3 is left out"));
    let (dots, last) = running.stop();
    let values: Vec<f64> = dots.iter().map(|(_, _, value)| *value).collect();
    assert_eq!(values, [1.0, 2.0]);
    assert!(last.ends_with("3 lines read, 2 dots published, 0 refused, 1 bad lines: 1 no value"), "{last}");
}

#[test]
fn a_terminal_shows_how_far_it_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let error = File::options().read(true).write(true).open(name).unwrap();
    let mut child = program(&["stdin", path.to_str().unwrap()]);
    let mut child = child.stdin(Stdio::piped()).stderr(error).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"a 1\na 2\n").unwrap();
    let mut terminal = File::from(terminal);
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains("\r\x1b[K2 lines read, 2 dots published, 0 refused, 0 bad lines") {
        let count = terminal.read(&mut buffer).unwrap();
        seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    terminate(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn options_that_do_not_go_together_are_wrong_usage() {
    for (args, expected) in [
        (&["--series", "a"][..], "each line names its series"),
        (&["--regex", "(?<value>x)"], "--series NAME"),
        (&["--regex", "(?<val>x)"], "(?<value>...)"),
        (&["--regex", "(?<value>x"], "unclosed group"),
        (&["--regex", "(?<value>x)", "--input", "nginx"], "cannot be used with"),
        (&["--agg", "median:1s"], "mean:1s"),
        (&["--input", "nginx", "--series", "a\nb"], "control"),
    ] {
        let output = run(&[&["stdin"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}
