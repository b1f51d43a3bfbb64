//! Two processes with one process id, as in two containers that share a store's directory: each keeps its files.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use dotter_dot::TimeRange;
use dotter_store::{Reader, Writer, verify};

const CHILD: &str = "DOTTER_CONTAINERS_CHILD";
const ROWS: u64 = 80_000;

/// Not a test: what each of the two processes does.
#[test]
#[ignore = "started by other tests"]
fn child() {
    let told = std::env::var(CHILD).expect("another test starts this one");
    let (name, dir) = told.split_once(' ').unwrap();
    let wait = |_: &Path| {
        println!("\nbegun as process {}", std::process::id());
        std::io::stdin().lines().next().unwrap().unwrap();
    };
    support::add_with(Path::new(dir), name, ROWS, wait).unwrap();
    println!("\ncommitted");
    std::io::stdin().lines().next();
}

/// A way to run a program as process 1 of a namespace of its own; `None` where this machine has none.
fn namespace() -> Option<Command> {
    [&["-pf", "--kill-child"][..], &["-Urpf", "--kill-child"]].into_iter().find_map(|flags| {
        let command = || {
            let mut command = Command::new("unshare");
            command.args(flags);
            command
        };
        let is_one = command().args(["sh", "-c", "test $$ = 1"]).stderr(Stdio::null()).status();
        is_one.is_ok_and(|status| status.success()).then(command)
    })
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(mut command: Command, name: &str, dir: &Path) -> Process {
        let mut child = command
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child", "--nocapture"])
            .env(CHILD, format!("{name} {}", dir.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, stdin, lines }
    }

    fn wait_for(&mut self, expected: &str) {
        let mut lines = self.lines.by_ref().map(|line| line.unwrap());
        assert!(lines.any(|line| line == expected), "it ended before it said: {expected}");
    }

    fn go_on(&mut self) {
        writeln!(self.stdin).unwrap();
    }
}

#[test]
fn two_processes_with_one_id_keep_each_what_they_committed() {
    let (Some(one), Some(other)) = (namespace(), namespace()) else {
        // Past the test runner, to where scripts/test counts it.
        let line =
            "skipped: two_processes_with_one_id_keep_each_what_they_committed: no process namespaces here\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    drop(Writer::open(dir.path()).unwrap());
    let mut one = Process::start(one, "one", dir.path());
    one.wait_for("begun as process 1");
    let mut other = Process::start(other, "other", dir.path());
    other.wait_for("begun as process 1");
    assert_eq!(support::unlisted(dir.path()).len(), 2, "each has its file");
    // A writer that begins meanwhile removes what nobody holds.
    drop(Writer::open(dir.path()).unwrap());
    for process in [&mut one, &mut other] {
        process.go_on();
        process.wait_for("committed");
    }
    for process in [one, other] {
        let Process { mut child, stdin, .. } = process;
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
    let snapshot = Reader::open(dir.path()).unwrap().snapshot();
    for name in ["one", "other"] {
        assert_eq!(snapshot.read(name, TimeRange::ALL).unwrap().len() as u64, ROWS, "{name}");
    }
    assert!(verify(dir.path()).unwrap().damage.is_empty());
    drop(Writer::open(dir.path()).unwrap());
    assert!(support::unlisted(dir.path()).is_empty());
}
