//! Every order in which processes can make their commits, each with kills, power cuts and syncs that fail.
//!
//! The model holds no code of the store. It has the files (WAL files, MANIFEST and MANIFEST.2, a claim), the
//! two locks, and processes that go one step at a time. The search visits every state that any interleaving
//! leads to, so what it does not find cannot happen in a scenario of that size.
//!
//! **What a process may do.** A writer (`W`, or `W2` with two adds) takes MANIFEST.lock and LOCK, completes
//! the list, settles the log, begins a WAL file, and then appends, syncs and publishes each add. A foreign
//! process (`F`: a delete or a segment) takes MANIFEST.lock, completes the list, settles the log where LOCK
//! is free, and appends its edit to MANIFEST and to MANIFEST.2, each with a sync. A collector (`C`) is a
//! writer that serves a socket. A sender (`K`) makes a claim and sends its add; it may stop waiting at any
//! moment, unlinks its claim and commits by an edit.
//!
//! **What may go wrong**, each as often as the scenario says: a process is killed before any of its steps; the
//! power is cut (whatever was not synced is there, half there or not there, in every combination; processes
//! that had not begun start in the next boot); the mount is lost (the same in one boot, and published words may
//! be older); a sync fails (the next sync of the same page succeeds and writes nothing, and the page may be
//! read from the disk again at any time); no WAL file can be made; a published word is lost.
//!
//! **What is checked**, in every state, as if everybody died there and the store was opened once more:
//!
//! - an acked commit counts, also where either copy of the list is lost, and readers see it
//! - a commit that was answered "not stored" never counts
//! - no commit counts twice
//! - a commit that was over (answered, or its process dead) before another began stands before it. An add that
//!   lies with a living collector is not over, even when its sender is dead.
//! - what readers can see never vanishes and never changes its order; frames and edits each appear behind those
//!   seen before, so that a follower with a place in the log and a place in the list misses none
//! - nobody waits for what cannot come
//!
//! **Which rule each variant leaves out** stands in `rule.rs`, beside the field. A model that cannot fail shows
//! nothing: each variant must lead to the fault that its sentence prevents.
//!
//! A killed commit may become visible at the next commit, and not before: that is allowed.
//!
//! `DOTTER_COMMIT_ORDER=all` runs larger scenarios, which takes minutes and some gigabytes; states are printed.
#![allow(unreachable_pub)]

mod rule;

mod disk;
mod state;

mod processes;

mod commits;
mod opening;

mod search;

use processes::Kind;
use rule::{DESIGN, Rule, TODAY, Unpublished};
use search::{Scenario, search};
use state::Mishaps;

const W: Kind = Kind::Writer { adds: 1 };
const W2: Kind = Kind::Writer { adds: 2 };
const F: Kind = Kind::Foreign;
const C: Kind = Kind::Collector;
const K: Kind = Kind::Sender;

const NONE: Mishaps =
    Mishaps { kills: 0, power_cuts: 0, lost_mounts: 0, failed_syncs: 0, full_disks: 0, lost_words: 0 };

/// One of each that two boots can have.
const KILL_AND_CUT: Mishaps = Mishaps { kills: 1, power_cuts: 1, ..NONE };
const KILLS_AND_CUT: Mishaps = Mishaps { kills: 2, power_cuts: 1, ..NONE };
const KILL_AND_MOUNT: Mishaps = Mishaps { kills: 1, lost_mounts: 1, ..NONE };
const SYNC_FAILS: Mishaps = Mishaps { failed_syncs: 1, full_disks: 1, ..KILL_AND_CUT };
const SYNCS_FAIL: Mishaps = Mishaps { failed_syncs: 2, ..KILL_AND_CUT };
const EVERYTHING: Mishaps =
    Mishaps { kills: 2, power_cuts: 1, lost_mounts: 1, failed_syncs: 2, full_disks: 1, lost_words: 0 };
const WORD_LOST: Mishaps = Mishaps { kills: 1, lost_words: 1, ..NONE };

fn holds(rule: &Rule, kinds: &'static [Kind], mishaps: Mishaps) {
    let scenario = Scenario { kinds, mishaps };
    let found = search(rule, &scenario);
    println!("{}: {} states", scenario.name(), found.states);
    if let Some((fault, way)) = found.fault {
        panic!("{}, {}: {fault}:\n{way}", rule.name, scenario.name());
    }
}

fn fails(rule: &Rule, kinds: &'static [Kind], mishaps: Mishaps, expected: &str) {
    let scenario = Scenario { kinds, mishaps };
    let Some((fault, way)) = search(rule, &scenario).fault else {
        panic!("{}, {}: the model finds no fault", rule.name, scenario.name());
    };
    println!("{}, {}: {fault}:\n{way}", rule.name, scenario.name());
    assert!(fault.contains(expected), "{}: found \"{fault}\", expected \"{expected}\"", rule.name);
}

#[test]
fn commits_of_two_processes_keep_their_order() {
    for kinds in [&[W, F], &[F, F], &[W, W]] {
        holds(&DESIGN, kinds, EVERYTHING);
    }
    for mishaps in [KILLS_AND_CUT, KILL_AND_MOUNT, SYNC_FAILS] {
        holds(&DESIGN, &[W2, F], mishaps);
    }
}

#[test]
fn commits_of_three_processes_keep_their_order() {
    for mishaps in [KILLS_AND_CUT, KILL_AND_MOUNT] {
        for kinds in [&[W, F, W], &[W, F, F], &[F, F, F]] {
            holds(&DESIGN, kinds, mishaps);
        }
    }
    for kinds in [&[W, F, W], &[W, F, F]] {
        holds(&DESIGN, kinds, SYNC_FAILS);
    }
    holds(&DESIGN, &[F, F, F], SYNCS_FAIL);
}

#[test]
fn an_add_through_the_socket_is_made_once() {
    for mishaps in [KILLS_AND_CUT, KILL_AND_MOUNT, SYNC_FAILS] {
        holds(&DESIGN, &[C, K, F], mishaps);
    }
    holds(&DESIGN, &[C, K, F, W], KILL_AND_CUT);
}

#[test]
fn larger_scenarios_keep_their_order() {
    if std::env::var_os("DOTTER_COMMIT_ORDER").is_none_or(|which| which != "all") {
        println!("DOTTER_COMMIT_ORDER=all runs them");
        return;
    }
    for kinds in [&[W, F, W], &[W, F, F], &[F, F, F], &[W2, F, F], &[C, K, F]] {
        holds(&DESIGN, kinds, Mishaps { kills: 2, power_cuts: 2, failed_syncs: 1, full_disks: 1, ..NONE });
    }
    for kinds in [&[C, K, F, W], &[W, F, W, F]] {
        holds(&DESIGN, kinds, KILLS_AND_CUT);
    }
    holds(&DESIGN, &[W2, F], EVERYTHING);
    holds(&DESIGN, &[F, F, F], EVERYTHING);
}

const VANISHES: &str = "what readers saw is gone";
const MISSED: &str = "a follower misses";
const NOT_STORED: &str = "answered \"not stored\" counts";
const BEHIND: &str = "stands behind one that began afterwards";
const TWICE: &str = "counts twice";
const ONE_COPY: &str = "an acked commit does not count where one copy of the list is lost";
const ACKED: &str = "an acked commit does not count";

#[test]
fn without_a_rule_of_the_design_the_model_finds_the_fault() {
    let kill = Mishaps { kills: 1, ..NONE };
    fails(&TODAY, &[W, F], kill, BEHIND);
    fails(&TODAY, &[C, K, F], NONE, TWICE);

    let rule = Rule { name: "LOCK without MANIFEST.lock", log_lock_under_list_lock: false, ..DESIGN };
    fails(&rule, &[W, F, W], kill, BEHIND);
    let rule = Rule { name: "no settling by foreign commits", foreign_settles: false, ..DESIGN };
    fails(&rule, &[W, F], kill, BEHIND);
    let rule = Rule { name: "no claims", claims: false, ..DESIGN };
    fails(&rule, &[C, K, F], NONE, TWICE);
    let rule = Rule { name: "unpublished is void", unpublished: Unpublished::IsVoid, ..DESIGN };
    fails(&rule, &[W, F], KILL_AND_MOUNT, ACKED);
    let rule = Rule { name: "old words are read", whole_frames_after_boot: false, ..DESIGN };
    fails(&rule, &[W, F], KILL_AND_CUT, VANISHES);
    let rule = Rule { name: "frames are not voided", voids_frames: false, ..DESIGN };
    fails(&rule, &[W, W], SYNC_FAILS, NOT_STORED);
    let rule = Rule { name: "edits are not voided", voids_edit: false, ..DESIGN };
    fails(&rule, &[F, F], SYNC_FAILS, NOT_STORED);
    let rule = Rule { name: "published before the sync", sync_before_publish: false, ..DESIGN };
    fails(&rule, &[W, F], KILL_AND_CUT, VANISHES);
    let rule = Rule { name: "one copy is enough for an ack", second_copy: false, ..DESIGN };
    fails(&rule, &[F, F], NONE, ONE_COPY);
    let rule = Rule { name: "nobody completes the list", completes: false, ..DESIGN };
    fails(&rule, &[F, F], KILL_AND_CUT, VANISHES);
}

#[test]
fn without_what_the_design_leaves_open_the_model_finds_the_fault() {
    let rule = Rule { name: "rolled forward by a sync alone", writes_again: false, ..DESIGN };
    fails(&rule, &[W, F], SYNC_FAILS, VANISHES);
    fails(&rule, &[F, F], SYNC_FAILS, ONE_COPY);
    let rule = Rule { name: "rolled forward by a new header alone", publishes_settled: false, ..DESIGN };
    fails(&rule, &[W, F], SYNC_FAILS, VANISHES);
    let rule = Rule { name: "an empty file's header is trusted", syncs_empty_file: false, ..DESIGN };
    fails(&rule, &[W, F], SYNC_FAILS, BEHIND);
    let rule = Rule { name: "an empty file is gone on with", own_file: false, ..DESIGN };
    fails(&rule, &[W, W], SYNC_FAILS, VANISHES);
    fails(&rule, &[W, W], Mishaps { power_cuts: 2, ..NONE }, VANISHES);
    let rule = Rule { name: "the word shares a checksum with the fixed length", word_apart: false, ..DESIGN };
    fails(&rule, &[W, W], SYNC_FAILS, NOT_STORED);
    let rule = Rule { name: "an overwritten edit is not synced", syncs_void: false, ..DESIGN };
    fails(&rule, &[F, F], SYNC_FAILS, NOT_STORED);
    let rule = Rule { name: "an edit goes to the end of each copy", keeps_place: false, ..DESIGN };
    fails(&rule, &[F, F], SYNCS_FAIL, "readers do not see an acked commit");
    let rule = Rule { name: "a follower keeps one place", two_places: false, ..DESIGN };
    fails(&rule, &[W, F], NONE, MISSED);
}

/// While its writer lives, nobody rolls the log forward: a published word that is lost then puts a delete before
/// an acked add.
#[test]
fn a_lost_word_beside_a_living_writer_needs_commits_behind_whole_frames() {
    fails(&DESIGN, &[W, F], WORD_LOST, BEHIND);
    let rule =
        Rule { name: "foreign commits stand behind whole frames", behind_whole_frames: true, ..DESIGN };
    for kinds in [&[W, F, W], &[W, F, F], &[C, K, F]] {
        holds(&rule, kinds, WORD_LOST);
    }
    for mishaps in [KILLS_AND_CUT, SYNC_FAILS] {
        holds(&rule, &[W, F, F], mishaps);
    }
}
