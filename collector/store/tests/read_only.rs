//! A backup from a read-only mount, as a container or a backup host has it, while others go on writing the store.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use dotter_dot::{Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{Reader, Transaction, Writer, add};
use support::told;

/// Runs `dotter-store -d DIR ARGS` in a mount namespace of its own, in which the directory is mounted read-only.
fn on_a_read_only_mount(dir: &Path, args: &[&str]) -> Output {
    let script = r#"mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && ! touch "$1/x" 2>/dev/null || exit 99
        shift; exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(dir);
    command.arg(env!("CARGO_BIN_EXE_dotter-store")).arg("-d").arg(dir).args(args);
    command.output().unwrap()
}

/// Whether this machine lets a user mount something; says so if it does not.
fn may_mount(test: &str) -> bool {
    let tried = tempfile::tempdir().unwrap();
    add_row(tried.path(), 0);
    let may = on_a_read_only_mount(tried.path(), &["stat"]).status.success();
    if !may {
        // Past the test runner, to where scripts/test counts it.
        let line = format!("skipped: {test}: this machine lets no user mount a directory read-only\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    may
}

fn add_row(dir: &Path, number: u64) {
    let row = (SeriesName::new("added").unwrap(), Timestamp::from_nanos(number), 1.0);
    add(dir, [row].into_iter().collect::<NamedDots>()).unwrap();
}

fn log_row(writer: &mut Writer, number: u64) {
    let key = writer.series(&SeriesName::new("logged").unwrap(), &Shape::number());
    let mut dots = Dots::default();
    dots.push_number(key, true, Timestamp::from_nanos(number), 1.0);
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
}

fn rows(dir: &Path) -> [usize; 2] {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    ["added", "logged"].map(|name| snapshot.read(name, TimeRange::ALL).unwrap().len())
}

#[test]
fn a_store_on_a_read_only_mount_is_backed_up_while_others_commit_without_a_pause() {
    if !may_mount("a_store_on_a_read_only_mount_is_backed_up_while_others_commit_without_a_pause") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let dir = &root.path().join("store");
    let stop = &AtomicBool::new(false);
    let mut writer = Writer::open(dir).unwrap();
    log_row(&mut writer, 0);
    add_row(dir, 0);
    std::thread::scope(|scope| {
        scope.spawn(move || (1..).take_while(|_| !stop.load(SeqCst)).for_each(|n| log_row(&mut writer, n)));
        scope.spawn(move || (1..).take_while(|_| !stop.load(SeqCst)).for_each(|n| add_row(dir, n)));
        let mut before = rows(dir);
        for round in 0..8 {
            let to = root.path().join(round.to_string());
            let output = on_a_read_only_mount(dir, &["backup", to.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            let (copied, after) = (rows(&to), rows(dir));
            let is_between = |at: usize| before[at] <= copied[at] && copied[at] <= after[at];
            assert!(is_between(0) && is_between(1), "{before:?} {copied:?} {after:?}");
            before = copied;
        }
        stop.store(true, SeqCst);
    });
    // A copy is a store as any other.
    let copy = root.path().join("7");
    told(&copy, &["verify"], "");
    told(&copy, &["add"], "more 1 1\n");
}

/// Nothing is made in the store, no lock file either.
#[test]
fn a_backup_leaves_a_store_that_nobody_writes_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    add_row(&dir, 0);
    for lock in ["MANIFEST.lock", "LOCK", "COMPACT.lock"] {
        let _ = std::fs::remove_file(dir.join(lock));
    }
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = names();
    told(&dir, &["backup", root.path().join("copy").to_str().unwrap()], "");
    assert_eq!(names(), before);
}
