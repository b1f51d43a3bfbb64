//! What scripts/test counts, skips and refuses, shown with tools that only say what they are told to say.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// What scripts/test takes from any machine.
const TOOLS: [&str; 17] = [
    "awk", "bash", "cat", "cp", "dirname", "env", "grep", "id", "mktemp", "printf", "rm", "sed", "sh",
    "sort", "tee", "touch", "wc",
];
/// What it installs where it is missing.
const NEEDED: [&str; 6] = ["node", "npm", "chromium", "redis-server", "g++", "python3"];

/// Runs scripts/test where one package comes from outside.
fn run(needed: &[&str], tests: &str) -> Output {
    run_with(needed, "echo 'outside v1.0.0'", tests)
}

/// Runs scripts/test on a machine that has [`TOOLS`], `needed` and a cargo that does what two pieces of shell say:
/// `tree` for `cargo tree`, `tests` for `cargo test`.
fn run_with(needed: &[&str], tree: &str, tests: &str) -> Output {
    let machine = TempDir::new().expect("a temporary directory can be made");
    let path = std::env::var_os("PATH").expect("there is a PATH");
    for tool in TOOLS {
        let found =
            std::env::split_paths(&path).map(|directory| directory.join(tool)).find(|file| file.is_file());
        symlink(found.unwrap_or_else(|| panic!("no {tool} here")), machine.path().join(tool))
            .expect("it is a new name");
    }
    for name in needed {
        stub(machine.path(), name, "");
    }
    stub(machine.path(), "cargo", &format!("case $1 in\ntree) {tree} ;;\ntest) {tests} ;;\nesac"));
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../test"))
        .env("PATH", machine.path())
        .stdin(Stdio::null())
        .output()
        .expect("a script can be started")
}

fn stub(directory: &Path, name: &str, body: &str) {
    let file = directory.join(name);
    fs::write(&file, format!("#!/bin/sh\n{body}\n")).expect("a file can be written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Only the run of the whole workspace says something.
fn workspace(says: &str) -> String {
    format!("case \"$*\" in *--workspace*) cat <<'END'\n{says}\nEND\n;; esac")
}

#[test]
fn the_last_line_counts_and_the_skipped_are_named_above_it() {
    let says = "\
skipped: memory: no user namespaces here
test memory ... ok
test whole ... ok
test child ... ignored, started by other tests
test demo ... ignored, builds much: scripts/test runs it
test slow ... ignored
test result: ok. 2 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
    let output = run(&NEEDED, &workspace(says));
    let lines = lines(&output);
    let end = &lines[lines.len() - 3..];
    let expected = [
        "skipped: memory: no user namespaces here",
        "skipped: slow ... ignored",
        "41 passed, 0 failed, 2 skipped",
    ];
    assert_eq!(end, expected, "{lines:#?}");
    assert!(output.status.success());
}

#[test]
fn a_test_that_fails_is_named_and_the_run_fails() {
    let says = "\
test good ... ok
test bad ... FAILED
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
    let output = run(&NEEDED, &format!("{}\nexit 101", workspace(says)));
    let lines = lines(&output);
    assert!(lines.iter().any(|line| line == "test bad ... FAILED"), "{lines:#?}");
    // The other runs of cargo failed too, and have no line that counts it.
    assert_eq!(lines.last().map(String::as_str), Some("1 passed, 5 failed, 0 skipped"));
    assert!(!output.status.success());
}

#[test]
fn a_test_program_that_dies_without_a_word_counts_as_failed() {
    let output = run(&NEEDED, "case \"$*\" in *--workspace*) kill -9 $$ ;; esac");
    assert_eq!(lines(&output).last().map(String::as_str), Some("0 passed, 1 failed, 0 skipped"));
    assert!(!output.status.success());
}

#[test]
fn what_is_missing_and_cannot_be_installed_ends_it_before_anything_is_tested() {
    for missing in NEEDED {
        let there: Vec<_> = NEEDED.into_iter().filter(|name| *name != missing).collect();
        let output = run(&there, "echo tested");
        let said = String::from_utf8_lossy(&output.stderr);
        let package = if missing == "node" { "nodejs" } else { missing };
        assert!(said.contains(&format!("the tests need {package}, and apt-get cannot install")), "{said}");
        assert!(!lines(&output).iter().any(|line| line == "tested"));
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn one_package_from_outside_too_many_ends_it_before_anything_is_tested() {
    let output =
        run_with(&NEEDED, "echo 'a v1'; echo 'b v1'; echo 'dotter-dot v1'; echo 'c v1'", "echo tested");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("dotter-publisher compiles 3 packages from outside, at most 2"), "{said}");
    assert!(!lines(&output).iter().any(|line| line == "tested"));
    assert_eq!(output.status.code(), Some(1));
}
