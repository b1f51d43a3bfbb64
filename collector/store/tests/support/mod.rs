//! dotter-store as a user runs it.

#![allow(dead_code, reason = "not every test file uses all of it")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub(crate) fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dotter-store"));
    command.arg("-d").arg(dir).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = command(dir, args).spawn().unwrap();
    // One that refuses a line does not read the others.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What it says on standard error; it must succeed.
#[track_caller]
pub(crate) fn told(dir: &Path, args: &[&str], input: &str) -> String {
    let output = run(dir, args, input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

/// What it prints; it must succeed.
#[track_caller]
pub(crate) fn printed(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args, "");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Its exit status and what it says on standard error.
pub(crate) fn failed(dir: &Path, args: &[&str], input: &str) -> (i32, String) {
    let output = run(dir, args, input);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}
