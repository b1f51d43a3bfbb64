//! `dotter-store add` beside a collector that is stopped, continued and killed: each add is stored once, in its place,
//! or its outcome is said to be unknown.
//!
//! `DOTTER_SEED` repeats a run's choices.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use dotter_e2e::{Dice, Pipeline, get, program, until, until_some};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Longer than an add waits before it goes another way, much shorter than it waits for an outcome.
const LONG_STOP: Duration = Duration::from_secs(15);

/// Longer than a collector waits for its disk, shorter than an add waits for an outcome.
const STILL: Duration = Duration::from_secs(17);

/// A command of the store that reads `input`, running.
fn spawn(data: &Path, arguments: &[&str], input: &str) -> Child {
    let mut command = Command::new(program("dotter-store"));
    command.env_remove("DOTTER_DATA").arg("-d").arg(data).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    child
}

/// What became of a command.
fn end(child: Child) -> Output {
    child.wait_with_output().expect("a child can be waited for")
}

/// What a command prints; it must succeed.
#[track_caller]
fn ask(data: &Path, arguments: &[&str], input: &str) -> String {
    let output = end(spawn(data, arguments, input));
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the programs write UTF-8")
}

/// The values of a series.
#[track_caller]
fn values(data: &Path, series: &str) -> Vec<String> {
    let rows = ask(data, &["read", series], "");
    rows.lines().map(|row| row.rsplit('\t').next().unwrap_or_default().to_owned()).collect()
}

/// Names of claims that wait.
fn claims(data: &Path) -> usize {
    fs::read_dir(data.join("claim")).map_or(0, Iterator::count)
}

/// The state of a process, as in `/proc`: T where it is stopped, S where it waits.
fn state(id: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Transactions that the collector has dropped.
fn dropped(pipeline: &Pipeline) -> u64 {
    let reply = until_some("metrics", || get(pipeline.collector_address(), "/metrics"));
    let prefix = "dotter_collector_claims_gone_total ";
    let value = reply.body.lines().find_map(|line| line.strip_prefix(prefix)?.parse().ok());
    value.expect("the collector counts them")
}

#[track_caller]
fn signal(pipeline: &Pipeline, signal: Signal) {
    pipeline.collector.as_ref().expect("it runs").signal(signal);
}

/// Stops the collector and waits until it stands still.
#[track_caller]
fn stop(pipeline: &Pipeline) {
    let id = pipeline.collector.as_ref().expect("it runs").id();
    signal(pipeline, Signal::SIGSTOP);
    until("a collector that stands still", || state(id) == Some('T'));
}

/// Shows P28. Fault B4: an add that got no answer was committed a second way, and a third time when the collector went on.
#[test]
fn an_add_that_went_another_way_is_not_stored_again_when_the_collector_goes_on() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    stop(&pipeline);
    let data = pipeline.data();
    ask(data, &["add"], "a 1 1\n");
    assert_eq!(values(data, "a"), ["1"], "stored another way");
    ask(data, &["delete", "a"], "");
    assert_eq!(values(data, "a").len(), 0);
    signal(&pipeline, Signal::SIGCONT);
    until("a look at the first request", || dropped(&pipeline) == 1 || !values(data, "a").is_empty());
    ask(data, &["add"], "b 1 1\n");
    assert_eq!((values(data, "a").len(), values(data, "b").len(), claims(data)), (0, 1, 0));
}

/// Fault B4 with a sender that is killed while it waits: what it asked for does not come behind a later delete.
#[test]
fn an_add_that_was_killed_while_it_waited_is_not_stored_later() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    let data = pipeline.data();
    ask(data, &["add"], "a 1 1\n");
    stop(&pipeline);
    let mut adding = spawn(data, &["add"], "a 1 2\n");
    until("a claim", || claims(data) == 1);
    // Between the claim and the request it does not wait for anything, so it waits for the answer.
    let mut seen = 0;
    until("an add that waits for its answer", || {
        seen = if state(adding.id()) == Some('S') { seen + 1 } else { 0 };
        seen == 20
    });
    adding.kill().expect("it runs");
    adding.wait().expect("a child can be waited for");
    ask(data, &["delete", "a"], "");
    signal(&pipeline, Signal::SIGCONT);
    until("a look at the request", || dropped(&pipeline) == 1 || !values(data, "a").is_empty());
    assert_eq!((values(data, "a").len(), claims(data)), (0, 0));
}

/// A collector waits 15 s for its disk. Time in which it stands still is not the disk's: the rows are acknowledged.
#[test]
fn an_add_whose_collector_stands_still_while_it_commits_is_acknowledged() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    let data = pipeline.data();
    for round in 0..200 {
        let mut adding = spawn(data, &["add"], &format!("a 1 {round}\n"));
        let ended = |adding: &mut Child| adding.try_wait().expect("a child can be waited for").is_some();
        while claims(data) == 0 && !ended(&mut adding) {}
        while claims(data) == 1 && !ended(&mut adding) {}
        stop(&pipeline);
        let waits = !ended(&mut adding);
        if waits {
            std::thread::sleep(STILL);
        }
        signal(&pipeline, Signal::SIGCONT);
        let output = end(adding);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(values(data, "a"), [round.to_string()]);
        if waits {
            return;
        }
    }
    panic!("no add of 200 waited for a commit");
}

/// Shows P28. Fault B4 at random moments: each client has a series and one time in it, and knows what must be there.
#[test]
fn acknowledged_adds_and_deletes_keep_their_order_beside_a_collector_that_is_stopped_at_random() {
    let mut dice = Dice::new();
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    let (pipeline, over, adds_done) = (&pipeline, AtomicBool::new(false), AtomicU64::new(0));
    let seeds: Vec<u64> = (0..3).map(|_| dice.below(u64::MAX)).collect();
    let others: Vec<u64> = std::thread::scope(|scope| {
        let clients: Vec<_> = seeds
            .iter()
            .enumerate()
            .map(|(number, seed)| {
                let (over, adds_done) = (&over, &adds_done);
                scope.spawn(move || {
                    client(pipeline.data(), &format!("client.{number}"), *seed, over, adds_done)
                })
            })
            .collect();
        // The instants are what this test is about, so they come from the dice and from nothing else.
        for round in 0..60 {
            std::thread::sleep(dice.moment(Duration::from_millis(40)));
            signal(pipeline, Signal::SIGSTOP);
            if round % 30 == 29 {
                let (begun, before) = (Instant::now(), adds_done.load(SeqCst));
                // The claims of all that wait may have been taken: then none of them ends before the collector goes on.
                while adds_done.load(SeqCst) < before + 3 && begun.elapsed() < LONG_STOP {
                    std::thread::sleep(Duration::from_millis(20));
                }
            } else {
                std::thread::sleep(dice.moment(Duration::from_millis(40)));
            }
            signal(pipeline, Signal::SIGCONT);
        }
        over.store(true, SeqCst);
        clients.into_iter().map(|client| client.join().expect("no client fails")).collect()
    });
    println!("steps of clients: {others:?}, requests dropped: {}", dropped(pipeline));
    assert_eq!(claims(pipeline.data()), 0);
}

/// Adds to, deletes and reads a series until `over`; how many steps it made.
fn client(data: &Path, series: &str, seed: u64, over: &AtomicBool, adds_done: &AtomicU64) -> u64 {
    let mut state = seed;
    let mut expected: Vec<String> = Vec::new();
    let mut steps = 0;
    while !over.load(SeqCst) {
        steps += 1;
        // Source: Knuth's linear congruential generator; its upper bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (state >> 60).is_multiple_of(4) {
            ask(data, &["delete", series], "");
            expected.clear();
        } else {
            ask(data, &["add"], &format!("{series} 1 {steps}\n"));
            adds_done.fetch_add(1, SeqCst);
            expected = vec![steps.to_string()];
        }
        assert_eq!(values(data, series), expected, "{series}, step {steps}");
    }
    assert_eq!(values(data, series), expected, "{series}, at the end");
    steps
}

/// kill -9 of the collector at any moment of an add: the add is stored once, or its outcome is said to be unknown.
#[test]
fn an_add_beside_a_collector_that_is_killed_is_stored_once_or_unknown() {
    const KILLS: usize = 40;
    let mut dice = Dice::new();
    let mut pipeline = Pipeline::new();
    let mut unknown = Vec::new();
    for round in 0..KILLS {
        pipeline.start_collector();
        let data = &pipeline.data().to_owned();
        let mut adding = spawn(data, &["add"], &format!("k.{round} 1 {round}\n"));
        let ended = |adding: &mut Child| adding.try_wait().expect("a child can be waited for").is_some();
        match dice.below(3) {
            0 => std::thread::sleep(dice.moment(Duration::from_millis(20))),
            1 => while claims(data) == 0 && !ended(&mut adding) {},
            _ => {
                while claims(data) == 0 && !ended(&mut adding) {}
                while claims(data) == 1 && !ended(&mut adding) {}
            }
        }
        pipeline.collector.take().expect("it runs").kill();
        let output = end(adding);
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => assert_eq!(values(data, &format!("k.{round}")), [round.to_string()], "{said}"),
            Some(1) if said.contains("handed over, outcome unknown") => unknown.push(round),
            code => panic!("round {round}: {code:?}: {said}"),
        }
        // Each row is there once; a second copy would stand in the log, in a segment, or be counted as replaced.
        let stat: Value = serde_json::from_str(&ask(data, &["stat", "--json"], "")).expect("it prints JSON");
        let dots = ["wal_dots", "segment_dots"].map(|key| stat[key].as_u64().expect("a count"));
        let rows = ask(data, &["read", "%"], "").lines().count() as u64;
        assert_eq!(dots.iter().sum::<u64>(), rows, "round {round}: {stat}");
    }
    println!("{} of {KILLS} outcomes unknown: {unknown:?}", unknown.len());
    let data = pipeline.data();
    let ledger = ask(data, &["ledger", "--json"], "");
    let ledger: Value = serde_json::from_str(&ledger).expect("it prints JSON");
    assert_eq!(ledger["totals"]["replaced"], 0, "{ledger}");
    for round in 0..KILLS {
        let found = values(data, &format!("k.{round}"));
        let may_miss = unknown.contains(&round);
        assert!(found == [round.to_string()] || (may_miss && found.is_empty()), "round {round}: {found:?}");
    }
    assert_eq!(claims(data), 0);
}
