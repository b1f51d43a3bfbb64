//! The program as a whole: its start, its end, and what it refuses.

mod support;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use dotter_dot::Incarnation;
use support::*;

const TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// Runs it where it is expected to end by itself.
fn run(data: &Path, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command(data).args(args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

#[test]
fn it_says_what_it_is_and_how_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let (code, text) = run(dir.path(), &["--help"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("Examples:") && text.contains("curl -d") && text.contains("Exit status"), "{text}");
    let (code, text) = run(dir.path(), &["--version"]);
    assert_eq!((code, text.trim()), (Some(0), concat!("dotter-collector ", env!("CARGO_PKG_VERSION"))));
    let (code, text) = run(dir.path(), &["--listen", "8000"]);
    assert_eq!(code, Some(2), "{text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_second_collector_on_a_store_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let (code, text) = run(dir.path(), &["--graphite", "off"]);
    assert_eq!(code, Some(1), "{text}");
    let expected = format!("cannot open the store in {} for writing", dir.path().display());
    assert!(text.contains(&expected) && text.contains("LOCK is locked by another process"), "{text}");
    // That it waits, and that it was in vain.
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(collector.post_json("[[1, 2]]").0, 200);
}

#[test]
fn it_waits_for_one_that_has_the_log_for_a_moment() {
    let dir = tempfile::tempdir().unwrap();
    let begin = || {
        let args = ["--graphite", "off"];
        let mut child = command(dir.path()).args(args).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let said = lines.next().unwrap_or_default();
        assert!(said.contains("waiting up to 10s: ") && said.contains("LOCK is locked"), "{said}");
        (child, move |expected: &str| {
            let said = lines.next().unwrap_or_default();
            assert!(said.contains(expected), "{said}");
        })
    };
    let terminate = |child: &Child| {
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
    };
    let writer = dotter_store::Writer::open(dir.path()).unwrap();
    let (mut child, _) = begin();
    terminate(&child);
    assert!(child.wait().unwrap().success(), "it may be stopped meanwhile");
    let (mut child, mut says) = begin();
    drop(writer);
    says("listening on http://");
    terminate(&child);
    says("stopping");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_list_that_had_to_be_rebuilt_is_told_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    drop(dotter_store::Writer::open(dir.path()).unwrap());
    let row = |n| (dotter_dot::SeriesName::new("a").unwrap(), dotter_dot::Timestamp::from_nanos(n), 1.0);
    (1..3).for_each(|n| assert_eq!(dotter_store::add(dir.path(), vec![row(n)]).unwrap(), 1));
    for name in ["MANIFEST", "MANIFEST.2"] {
        std::fs::write(dir.path().join(name), "not a list").unwrap();
    }
    let collector = Collector::start(dir.path());
    until("it is told", || collector.said().contains("was rebuilt: no valid header"));
    assert_eq!(collector.post_json("[[1, 2]]").0, 200);
    assert!(snapshot(dir.path()).contains("a"));
}

#[test]
fn a_directory_that_cannot_be_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a store").unwrap();
    let (code, text) = run(&file, &["--graphite", "off"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("cannot open the store in"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), b"not a store");
}

#[test]
fn an_address_that_is_taken_or_that_others_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let check = |args: &[&str], expected: &str| {
        let (code, text) = run(dir.path(), args);
        assert_eq!(code, Some(1), "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
    };
    check(&["--graphite", &addr], &format!("cannot take graphite lines on {addr}: "));
    check(&["--graphite", "0.0.0.0:0"], "refused to take graphite lines on 0.0.0.0:0");
    // clap takes the last of two only where it is told to; so the first is left out here.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dotter-collector"));
    command.arg("--data").arg(dir.path()).args(["--graphite", "off", "--listen"]);
    let output = command.arg("0.0.0.0:0").env_remove("DOTTER_TOKEN").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("refused to listen on 0.0.0.0:0"), "{text}");
}

#[test]
fn a_token_that_is_there_and_is_none_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for value in [&b""[..], b" ", b"\xff\xfe"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dotter-collector"));
        command.arg("--data").arg(dir.path()).env("DOTTER_TOKEN", OsStr::from_bytes(value));
        // An address at which a collector without a token ends by itself, too.
        command.args(["--graphite", "off", "--listen", "0.0.0.0:0"]).env_remove("DOTTER_TOKEN_FILE");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{value:?}: {text}");
        assert!(text.contains("cannot take the token: $DOTTER_TOKEN"), "{value:?}: {text}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

/// Shows P23.
#[test]
fn every_request_needs_the_token_where_there_is_one_but_for_health() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    let args = ["--graphite", "off", "--token-file", file.to_str().unwrap()];
    mode(0o644);
    let (code, text) = run(&dir.path().join("store"), &args);
    assert!(code == Some(1) && text.contains("0600"), "{text}");
    mode(0o600);
    let collector = Collector::with(&dir.path().join("store"), &args);
    assert_eq!(collector.post_json("[[1, 2]]").0, 401);
    let bearer = format!("Bearer {TOKEN}");
    let url = |target: &str| format!("http://{}{target}", collector.http());
    let answer =
        ureq::post(url("/data?series=data")).header("Authorization", &bearer).send("[[1, 2]]").unwrap();
    assert_eq!(answer.status(), 200);
    for target in
        ["/data?series=data", "/store/data", "/store/%25", "/data/", "/metrics", "/", "/none", "/-/other"]
    {
        let (status, text) = collector.get(target);
        assert_eq!(status, 401, "{target}: {text}");
    }
    for target in ["/data?series=data", "/store/data", "/metrics"] {
        let answer = ureq::get(url(target)).header("Authorization", &bearer).call().unwrap();
        assert_eq!(answer.status(), 200, "{target}");
    }
    for target in ["/-/healthy", "/-/ready"] {
        assert_eq!(collector.get(target), (200, "ok\n".into()), "{target}");
    }
    assert!(!collector.said().contains(TOKEN));
}

#[test]
fn what_it_makes_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("store");
    let collector = Collector::start(&data);
    collector.post_json("[[1, 2]]");
    let mut seen = 0;
    let mut open = vec![data];
    while let Some(path) = open.pop() {
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o077, 0, "{}", path.display());
        seen += 1;
        if metadata.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 4, "{seen}");
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let collector = Collector::start(dir.path());
        assert_eq!(dots(&snapshot(dir.path()), "data").len(), round, "before round {round}");
        assert_eq!(collector.post_json(&format!("[[{round}, 1]]")).0, 200);
        collector.kill();
    }
    let collector = Collector::start(dir.path());
    assert_eq!(collector.get("/data?series=data&last=1").1, "[[9,1.0]]");
}

#[test]
fn it_ends_in_good_order_while_it_is_posted_to() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let url = format!("http://{}/data", collector.http());
    let ring = |number: u8| Incarnation([number; 16]);
    let posters: Vec<_> = (0..3)
        .map(|number| {
            let url = url.clone();
            std::thread::spawn(move || {
                let mut acked = 0;
                loop {
                    let mut bytes = Vec::new();
                    batch(ring(number), series("p", 2), vec![lane(0, acked, acked + 50, 2)])
                        .encode(&mut bytes);
                    let posted = ureq::post(&url).content_type(dotter_wire::CONTENT_TYPE).send(&bytes[..]);
                    match posted {
                        Ok(answer) if answer.status() == 200 => acked += 50,
                        _ => return acked,
                    }
                }
            })
        })
        .collect();
    until("posts flow", || collector.metric("batches_total") > 50.0);
    let (status, took, said) = collector.terminate();
    assert!(status.success(), "{said}");
    assert!(took.as_secs() < 5, "{took:?}");
    let view = snapshot(dir.path());
    for (number, poster) in (0..).zip(posters) {
        let acked = poster.join().unwrap();
        let account = account(&view, ring(number));
        assert!(account.stored() >= acked, "{} stored, {acked} acknowledged", account.stored());
    }
}

/// Something stands where the next file of the log belongs; then it is gone.
#[test]
fn a_log_that_fails_is_opened_anew_and_keeps_its_word() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let ring = Incarnation([5; 16]);
    let mut lines = collector.lines();
    let mut acked = 0;
    let post = |acked: &mut u64| {
        let message = batch(ring, series("f", 4), vec![lane(0, *acked, *acked + 30_000, 4)]);
        let sent = collector.send(&message);
        if let Ok((status, _)) = &sent {
            assert_eq!(*status, 200);
            *acked += 30_000;
        }
        sent.map(drop)
    };
    post(&mut acked).unwrap();
    until("the connection is taken", || collector.metric("graphite_connections") == 1.0);
    // The first file of the log is being written: its successor cannot be made.
    let obstacle = dir.path().join("wal/0000000002.wal");
    std::fs::create_dir(&obstacle).unwrap();
    let refused = loop {
        if let Err(reply) = post(&mut acked) {
            break reply;
        }
        assert!(acked < 10_000_000, "a file of the log must be full by now");
    };
    assert_eq!(refused.0, 503, "{refused:?}");
    assert!(refused.1.contains("the log failed: cannot"), "{refused:?}");
    assert_eq!(collector.get("/-/healthy").0, 503);
    assert_eq!(collector.get("/-/ready").0, 503);
    // Taken while nothing can be written.
    lines.write_all(b"kept 1 7\n").unwrap();
    until("it was read", || collector.metric("graphite_lines_total") == 1.0);

    std::fs::remove_dir(&obstacle).unwrap();
    until("it goes on", || post(&mut acked).is_ok());
    until("it is well again", || collector.get("/-/healthy").0 == 200);
    until("the line is written", || snapshot(dir.path()).contains("kept"));
    assert!(collector.metric("failures_total") >= 1.0);
    assert!(collector.said().contains("the log is open again"), "{}", collector.said());
    let account = account(&snapshot(dir.path()), ring);
    assert_eq!((account.stored(), account.lost()), (acked, 0));
    assert_eq!(collector.metric("dots_total"), (acked + 1) as f64, "what was left behind is counted, once");
    collector.kill();
    let collector = Collector::start(dir.path());
    let (_, answer) = collector.send(&question(ring)).unwrap();
    assert_eq!(answer.lanes, [(0, acked)]);
}

#[test]
fn a_retention_rule_that_cannot_be_read_is_named_at_the_start_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let rules = |keep: &str| {
        let good = "[[rule]]\npattern = \"a\"\nkeep = \"1s:1d\"\n";
        let text = format!("{good}[[rule]]\npattern = \"b\"\nkeep = \"{keep}\"\n");
        std::fs::write(dir.path().join("retention.toml"), text).unwrap();
    };
    rules("raw:30d, 1m:1y, 1h");
    let collector = Collector::start(dir.path());
    until("it is counted", || collector.metric("retention_bad_rules") == 1.0);
    let named = "retention.toml line 6: '1h' is no retention";
    until("it is named", || collector.said().contains(named));
    rules("raw:30d, 1m:1y");
    nix::sys::signal::kill(collector.pid(), nix::sys::signal::SIGHUP).unwrap();
    until("it is well again", || collector.metric("retention_bad_rules") == 0.0);
}

#[test]
fn sighup_has_the_rules_read_at_once_and_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let rules = |keep: &str| {
        let text = format!("[[rule]]\npattern = \"a\"\nkeep = \"{keep}\"\n");
        std::fs::write(dir.path().join("retention.toml"), text).unwrap();
    };
    let hangup = |collector: &Collector| {
        nix::sys::signal::kill(collector.pid(), nix::sys::signal::SIGHUP).unwrap();
    };
    rules("raw:30d");
    let collector = Collector::start(dir.path());
    until("the rules are read", || {
        hangup(&collector);
        collector.said().contains("SIGHUP: the retention rules were read again, 0 are skipped")
    });
    rules("never");
    hangup(&collector);
    let named = "retention.toml line 3: 'never' is no retention";
    let again = "SIGHUP: the retention rules were read again, 1 are skipped";
    until("they are read again", || collector.said().contains(again));
    assert!(collector.said().contains(named), "{}", collector.said());
    assert_eq!(collector.metric("retention_bad_rules"), 1.0);
    // No file has changed, and yet whoever asks is told.
    let told = collector.said().matches(named).count();
    hangup(&collector);
    until("it is named once more", || collector.said().matches(named).count() > told);
    assert_eq!(collector.post_json("[[1, 2]]").0, 200);
    assert!(collector.terminate().0.success());
}

#[test]
fn sighup_does_not_end_a_collector_that_waits_for_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let writer = dotter_store::Writer::open(dir.path()).unwrap();
    let mut child = command(dir.path()).args(["--graphite", "off"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.next().unwrap_or_default();
    assert!(said.contains("waiting up to 10s: "), "{said}");
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGHUP).unwrap();
    drop(writer);
    let listens = lines.any(|line| line.contains("listening on http://"));
    if !listens {
        panic!("it ended before it listened: {:?}", child.wait());
    }
    nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_limit_of_bytes_is_a_number_of_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(dir.path(), &["--graphite", "off", "--max-bytes", "20G"]);
    until("it is shown", || collector.metric("max_bytes") == 20e9);
    let (code, text) = run(dir.path(), &["--max-bytes", "20 gigs"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("'20 gigs' is no size from 1M on, such as 500M, 20G or 1TiB"), "{text}");
}
