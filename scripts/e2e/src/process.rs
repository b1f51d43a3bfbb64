//! One running program, its voice, and the ways to end it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::{PATIENCE, until_some};

/// Lines shown when a test fails.
const LINES_SHOWN: usize = 40;

/// A program that runs; killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    voice: Arc<Voice>,
}

/// What it said on standard error.
#[derive(Default)]
struct Voice {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

impl Process {
    /// Starts it with nothing of the surroundings that would change what it does.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn start(command: &mut Command) -> Process {
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"DOTTER_") {
                command.env_remove(name);
            }
        }
        let name = command.get_program().to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
        let streams = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stderr = child.stderr.take().expect("it is piped");
        let voice = Arc::new(Voice::default());
        let listener = voice.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                listener.add(|said| said.lines.push(line));
            }
            listener.add(|said| said.ended = true);
        });
        Process { name, child, voice }
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of standard error in which `find` finds something.
    ///
    /// # Panics
    ///
    /// Where it ends before, or says nothing of the kind for long.
    #[track_caller]
    pub fn hear<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        let mut said = self.voice.said.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = said.lines.iter().find_map(|line| find(line)) {
                return found;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            assert!(
                !said.ended && !left.is_zero(),
                "{} did not say {what}; it said:\n{}",
                self.name,
                said.lines.join("\n")
            );
            said = self.voice.more.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The address in the first `http://ADDRESS` it says.
    ///
    /// # Panics
    ///
    /// As [`Process::hear`].
    #[track_caller]
    pub fn hear_address(&self) -> std::net::SocketAddr {
        self.hear("where it listens", |line| {
            let rest = line.split_once("http://")?.1;
            rest.split(|c: char| c == '/' || c.is_whitespace()).next()?.parse().ok()
        })
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// Where there is no such process any more.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap_or_else(|error| {
            panic!("cannot signal {}: {error}; it said:\n{}", self.name, self.last_words())
        });
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// Where it had ended by itself.
    #[track_caller]
    pub fn kill(mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
            panic!("{} had ended by itself: {status}; it said:\n{}", self.name, self.last_words());
        }
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM, then what it wrote to standard output.
    ///
    /// # Panics
    ///
    /// Where it does not end with 0.
    #[track_caller]
    pub fn terminate(self) -> String {
        self.signal(Signal::SIGTERM);
        self.finish()
    }

    /// Waits for its end, then what it wrote to standard output. Only for programs that write little.
    ///
    /// # Panics
    ///
    /// Where it does not end with 0.
    #[track_caller]
    pub fn finish(mut self) -> String {
        let status = self.wait();
        assert!(status.success(), "{} ended with {status}; it said:\n{}", self.name, self.last_words());
        let mut output = String::new();
        let mut stdout = self.child.stdout.take().expect("it is piped");
        stdout.read_to_string(&mut output).expect("the programs write UTF-8");
        output
    }

    /// Waits for its end; `None` where a signal ended it.
    ///
    /// # Panics
    ///
    /// Where it does not end.
    #[track_caller]
    pub fn exit_code(mut self) -> Option<i32> {
        self.wait().code()
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        until_some("the end of a program", || self.child.try_wait().ok().flatten())
    }

    fn last_words(&self) -> String {
        let said = self.voice.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.lines[said.lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }
}

impl Voice {
    fn add(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner));
        self.more.notify_all();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said last:\n{}", self.name, self.last_words());
        }
    }
}
