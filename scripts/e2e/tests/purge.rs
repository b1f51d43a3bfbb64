//! `dotter-store delete --purge` beside a collector: no file of the store has what was deleted when it returns.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use dotter_e2e::{Pipeline, get, program};
use nix::sys::signal::Signal;

/// A line that stands in a log or in a segment as it is: too short to be compressed.
const SECRET: &str = "Zq7_kW-pX4vT9";

fn store(data: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program("dotter-store"));
    command.env_remove("DOTTER_DATA").arg("-d").arg(data).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("a child can be waited for")
}

#[track_caller]
fn ask(data: &Path, arguments: &[&str], input: &str) -> String {
    let output = store(data, arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the programs write UTF-8")
}

/// The files of a store that have the secret, by their folders.
fn having(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")) {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            found.extend(having(&path));
        } else if kind.is_file() {
            // A file may be unlinked meanwhile.
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()) {
                let folder = path.parent().and_then(Path::file_name).expect("it lies in a folder");
                found.push(folder.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Shows P37.
#[test]
fn no_file_has_what_was_purged_beside_a_collector_that_goes_on() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    let data = pipeline.data().to_owned();
    ask(&data, &["add"], &format!("log 1 s before\nlog 2 s {SECRET}\n"));
    assert_eq!(having(&data), ["wal"], "it goes through the collector into the log");
    // A unit cannot go through the collector: a segment.
    ask(&data, &["add", "--unit", "B"], &format!("log 3 s {SECRET}\n"));
    assert_eq!(having(&data), ["seg", "wal"]);
    let output = store(&data, &["delete", "log", "--after", "2", "--before", "4", "--purge"], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("2 rows removed, 1 segments written anew"), "{said}");
    assert_eq!(having(&data), Vec::<String>::new());
    ask(&data, &["add"], "log 2 s behind\n");
    let rows = ask(&data, &["read", "log", "--times", "nanos"], "");
    assert_eq!(rows, "log\t1\ts\tbefore\nlog\t2\ts\tbehind\n");
    let address = pipeline.collector_address();
    assert_eq!(get(address, "/-/healthy").expect("it answers").status, 200);
    ask(&data, &["verify"], "");
}

/// Shows P37.
#[test]
fn a_purge_beside_a_collector_that_stands_still_says_what_is_left_and_can_be_repeated() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    let data = pipeline.data().to_owned();
    ask(&data, &["add"], &format!("log 2 s {SECRET}\n"));
    let signal = |signal| pipeline.collector.as_ref().expect("it runs").signal(signal);
    signal(Signal::SIGSTOP);
    let output = store(&data, &["delete", "log", "--purge"], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "nobody can read them",
        "bytes are not all gone",
        "did not answer within 10 s",
        "repeat this command",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(ask(&data, &["read", "log"], ""), "");
    assert_eq!(having(&data), ["wal"]);
    signal(Signal::SIGCONT);
    ask(&data, &["delete", "log", "--purge"], "");
    assert_eq!(having(&data), Vec::<String>::new());
}
