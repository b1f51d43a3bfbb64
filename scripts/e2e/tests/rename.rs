//! `dotter-store rename` beside a collector that takes rows of the old name all the time, and killed at any moment.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use dotter_e2e::{Dice, Pipeline, post, program};
use serde_json::Value;

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("dotter-store"));
    command.env_remove("DOTTER_DATA").arg("-d").arg(data).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn ask(data: &Path, arguments: &[&str]) -> String {
    let output = command(data, arguments).output().expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("the programs write UTF-8")
}

/// The values of a series; none comes twice.
#[track_caller]
fn values(data: &Path, series: &str) -> BTreeSet<u64> {
    let rows = ask(data, &["read", series]);
    let values: Vec<u64> = rows
        .lines()
        .map(|row| row.rsplit('\t').next().and_then(|text| text.parse().ok()).expect("a number"))
        .collect();
    let set: BTreeSet<u64> = values.iter().copied().collect();
    assert_eq!(set.len(), values.len(), "{series}");
    set
}

/// Shows P40.
#[test]
fn each_acknowledged_row_has_one_of_both_names_beside_a_collector_though_renames_are_killed() {
    const RENAMES_MAX: usize = 400;
    let mut dice = Dice::new();
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    let (data, address) = (pipeline.data().to_owned(), pipeline.collector_address());
    let is_over = AtomicBool::new(false);
    let count = std::thread::scope(|scope| {
        let posting = scope.spawn(|| {
            let mut count = 0_u64;
            while !is_over.load(SeqCst) {
                let reply =
                    post(address, "/data?series=old", &format!("[[{count}, {count}]]")).expect("it answers");
                assert_eq!(reply.status, 200, "{}", reply.body);
                count += 1;
            }
            count
        });
        let (mut done, mut killed) = (0, 0);
        // How long a whole rename took last: a kill comes within that time, on a fast machine and on a slow one.
        let mut whole = Duration::from_millis(60);
        for round in 0..RENAMES_MAX {
            if done > 5 && killed > 5 && round >= 30 {
                break;
            }
            let started = Instant::now();
            let mut renaming = command(&data, &["rename", "old", "new"]).spawn().expect("it starts");
            let is_killed = round % 2 == 0;
            if is_killed {
                // The instant is what this test is about.
                std::thread::sleep(dice.moment(whole));
                let _ = renaming.kill();
            }
            let output = renaming.wait_with_output().expect("a child can be waited for");
            match output.status.code() {
                Some(0) => {
                    done += 1;
                    if !is_killed {
                        whole = started.elapsed();
                    }
                }
                None => killed += 1,
                // Nothing has come since the last one.
                code => assert!(
                    said(&output).contains("there is no row of series old"),
                    "{code:?} {}",
                    said(&output)
                ),
            }
            let (old, new) = (values(&data, "old"), values(&data, "new"));
            // Between the two reads nothing moves, but rows come; those that were there are in one of them.
            assert!(old.is_disjoint(&new), "round {round}");
        }
        is_over.store(true, SeqCst);
        println!("{done} done, {killed} killed");
        assert!(done > 5 && killed > 5, "{done} done, {killed} killed");
        posting.join().expect("it does not fail")
    });
    let mut all = values(&data, "old");
    all.append(&mut values(&data, "new"));
    assert_eq!(all, (0..count).collect::<BTreeSet<u64>>());
    ask(&data, &["verify"]);
    let ledger: Value = serde_json::from_str(&ask(&data, &["ledger", "--json"])).expect("it prints JSON");
    assert!(ledger["totals"]["renamed"].as_u64() > Some(0), "{ledger}");
    ask(&data, &["compact", "--major"]);
    let mut all = values(&data, "old");
    all.append(&mut values(&data, "new"));
    assert_eq!(all, (0..count).collect::<BTreeSet<u64>>());
}
