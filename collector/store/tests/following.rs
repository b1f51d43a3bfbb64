//! `dotter-store read --follow`, with a hold and without.

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{command, failed, told};

/// A follower, and the lines it prints.
fn follow(dir: &Path, args: &[&str]) -> (std::process::Child, impl Iterator<Item = String>) {
    let mut child = command(dir, args).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

#[test]
fn a_follower_prints_what_is_committed_and_ends_when_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    told(dir.path(), &["add"], "a 1 1\n");
    let args = ["read", "%", "--follow", "--timestamp-nanos", "--where", "value contains 'x' or value > 1"];
    let (mut child, mut lines) = follow(dir.path(), &args);
    // Until it has begun to follow, what is added is not news: the first line says that it has.
    let writing = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for time in 2.. {
                told(
                    dir.path(),
                    &["add"],
                    &format!("a {time} 2\nlog {time} s x\\ y\nlog {} s no\n", time + 1),
                );
                if dir.path().join("enough").exists() {
                    return time;
                }
            }
            unreachable!("the loop does not end")
        });
        let mut seen = Vec::new();
        while seen.len() < 6 {
            seen.push(lines.next().unwrap());
        }
        std::fs::write(dir.path().join("enough"), "").unwrap();
        writer.join().unwrap();
        seen
    });
    let first: u64 = writing[0].split('\t').nth(1).unwrap().parse().unwrap();
    let expected: Vec<String> = (first..first + 3)
        .flat_map(|time| [format!("a\t{time}\t2"), format!("log\t{time}\ts\tx\\ y")])
        .collect();
    assert_eq!(writing, expected);
    // A large transaction becomes a segment of its own: it is told all the same.
    let large: String = (0..100_000).map(|n| format!("large {n} {}\n", n / 99_999 * 2)).collect();
    told(dir.path(), &["add"], &large);
    assert_eq!(lines.find(|line| line.starts_with("large")).unwrap(), "large\t99999\t2");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // One whose reader goes does not wait for something to write.
    let (mut child, lines) = follow(dir.path(), &args[..3]);
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Shows P41.
#[test]
fn a_follower_with_a_hold_goes_on_where_a_killed_one_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["read", "%", "--follow", "--timestamp-nanos", "--hold", "mine"];
    told(dir.path(), &["add"], "a 1 1\n");
    let (mut child, mut lines) = follow(dir.path(), &args);
    while !dir.path().join("hold/mine").exists() {
        std::thread::yield_now();
    }
    // The hold is made before anything is printed: from here on nothing is missed.
    let (_, error) = failed(dir.path(), &args, "");
    assert!(error.contains("hold/mine is locked by another process"), "{error}");
    told(dir.path(), &["add"], "a 2 2\n");
    assert_eq!(lines.next().unwrap(), "a\t2\t2");
    child.kill().unwrap();
    child.wait().unwrap();
    // Added, sealed and merged while nobody follows.
    told(dir.path(), &["add"], "a 3 3\n");
    let large: String = (0..100_000).map(|n| format!("large {n} {n}\n")).collect();
    told(dir.path(), &["add"], &large);
    told(dir.path(), &["delete", "gone"], "");
    told(dir.path(), &["rename", "a", "b"], "");
    told(dir.path(), &["compact", "--major"], "");
    let mut command = command(dir.path(), &args);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // What was printed just before the other was killed may come again.
    assert!(lines.any(|line| line == "a\t3\t3"));
    assert_eq!(lines.by_ref().filter(|line| line.starts_with("large")).take(100_000).count(), 100_000);
    told(dir.path(), &["add"], "c 4 4\n");
    assert!(lines.any(|line| line == "c\t4\t4"));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("deleted: gone") && said.contains("renamed: a is b now"), "{said}");
    assert!(!said.contains("not kept"), "{said}");
}
