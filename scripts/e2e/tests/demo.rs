//! The demo as a newcomer runs it. Builds with optimisation first, so it runs when asked for: scripts/test does.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dotter_e2e::{get, get_json, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Demo {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    heard: String,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo");
        let mut child = Command::new(script)
            .args(arguments)
            .env_remove("CARGO_TARGET_DIR")
            .env("CARGO_TARGET_DIR", target_directory())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let stdout = child.stdout.take().expect("it is piped");
        Demo { child, lines: BufReader::new(stdout).lines(), heard: String::new() }
    }

    /// Listens until a line answers.
    #[track_caller]
    fn hear<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        for line in self.lines.by_ref() {
            let line = line.expect("the demo writes UTF-8");
            self.heard += &format!("{line}\n");
            if let Some(found) = find(&line) {
                return found;
            }
        }
        panic!("the demo did not say {what}:\n{}", self.heard);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("the demo runs");
    }

    #[track_caller]
    fn finish(mut self) -> String {
        for line in self.lines.by_ref() {
            self.heard += &format!("{}\n", line.expect("the demo writes UTF-8"));
        }
        let status = self.child.wait().expect("a child can be waited for");
        assert!(status.success(), "{status}:\n{}", self.heard);
        std::mem::take(&mut self.heard)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Asked, not killed: it has four programs to end.
            let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

/// The one this test was built into, so that nothing is built twice.
fn target_directory() -> std::path::PathBuf {
    let own = std::env::current_exe().expect("a running program has a file");
    own.ancestors().nth(3).expect("TARGET/PROFILE/deps/TEST").to_owned()
}

fn url(line: &str) -> Option<String> {
    line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).map(str::to_owned)
}

#[test]
#[ignore = "builds with optimisation: scripts/test runs it"]
fn the_demo_shows_this_machine_survives_kills_and_ends_with_0() {
    let mut demo = Demo::start(&["--listen", "127.0.0.1:0"]);
    let address = demo.hear("its URL on a line of its own", url).parse().expect("an address");
    until("series of this machine", || {
        get(address, "/metrics/index.json").is_some_and(|reply| reply.body.contains("\"host."))
    });
    for program in ["dotter-publisher", "dotter-broker", "dotter-collector", "dotter-displayer"] {
        // Not the name alone: other demos and tests may run beside this one.
        let found =
            children(demo.child.id()).into_iter().find(|id| program_of(*id).as_deref() == Some(program));
        let id = found.unwrap_or_else(|| panic!("{program} does not run; the demo said:\n{}", demo.heard));
        kill(Pid::from_raw(id as i32), Signal::SIGKILL).expect("it runs");
        demo.hear("that it was killed", |line| {
            (line.contains(program) && line.contains("kill -9")).then_some(())
        });
        demo.hear("that it runs again", |line| {
            (line.contains(program) && line.contains("again")).then_some(())
        });
    }
    until("the displayer to answer again", || {
        get(address, "/-/ready").is_some_and(|reply| reply.status == 200)
    });
    let all = get_json(address, "/metrics/index.json");
    assert!(all.as_array().is_some_and(|all| all.len() > 5), "{all}");
    demo.signal(Signal::SIGINT);
    let heard = demo.finish();
    assert!(heard.contains("dots stored"), "{heard}");
}

#[test]
#[ignore = "builds with optimisation: scripts/test runs it"]
fn the_demo_ends_by_itself_when_told_for_how_long_and_keeps_the_data_it_was_given() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let data = directory.path().join("data");
    let path = data.to_str().expect("the name is text");
    let mut demo = Demo::start(&["--for", "3", "--listen", "127.0.0.1:0", "--data", path]);
    demo.hear("its URL on a line of its own", url);
    demo.finish();
    assert!(data.join("MANIFEST").is_file());
}

/// Processes started by `parent`.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// The name of the file a process runs.
fn program_of(id: u32) -> Option<String> {
    let file = std::fs::read_link(format!("/proc/{id}/exe")).ok()?;
    // As the system shows a file that was replaced since, by a build.
    Some(file.file_name()?.to_str()?.trim_end_matches(" (deleted)").to_owned())
}
