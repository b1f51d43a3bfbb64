//! Running a filter command, with pipes to it and from it.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::Error;

/// How many bytes are written to a pipe or read from one at once.
pub(super) const PIPE_BYTES: usize = 64 << 10;

/// How often at least `cancel` is asked while the command writes nothing.
pub(super) const ASK: Duration = Duration::from_millis(20);

/// A running command, in a process group of its own. Dropping the value kills the group.
pub(super) struct Running {
    child: Child,
    /// Whether it was waited for; until then its process id cannot be given to another process.
    ended: bool,
}

impl Running {
    pub(super) fn start(command: &str) -> Result<Running, Error> {
        let shell = Path::new("/bin/sh");
        let child = Command::new(shell)
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(Error::io("start", shell))?;
        Ok(Running { child, ended: false })
    }

    /// Its standard input and output; they can be taken once.
    pub(super) fn pipes(&mut self) -> (ChildStdin, ChildStdout) {
        let taken = self.child.stdin.take().zip(self.child.stdout.take());
        taken.expect("both are piped, and nobody has taken them")
    }

    /// Waits until it ends, or until `cancel` says to give up.
    pub(super) fn wait(&mut self, cancel: &dyn Fn() -> bool) -> Result<ExitStatus, Error> {
        let mut pause = Pause::default();
        loop {
            let status = self.child.try_wait().map_err(Error::io("wait for", Path::new("/bin/sh")))?;
            if let Some(status) = status {
                self.ended = true;
                return Ok(status);
            }
            if cancel() {
                return Err(Error::GivenUp);
            }
            std::thread::park_timeout(pause.next());
        }
    }

    pub(super) fn end(&mut self) {
        if !self.ended {
            // Kill the whole group: processes that the shell has started may hold the pipes.
            let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
            let _ = self.child.wait();
            self.ended = true;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// How long to wait before asking again: short at first, then [`ASK`].
#[derive(Default)]
struct Pause(Duration);

impl Pause {
    fn next(&mut self) -> Duration {
        self.0 = (self.0 * 2).clamp(Duration::from_millis(1), ASK);
        self.0
    }
}

/// The command's standard input, written without blocking.
pub(super) struct Pipe<'a> {
    stdin: ChildStdin,
    /// Bytes written so far.
    written: u64,
    /// Set when the command is given up.
    stop: &'a AtomicBool,
}

impl Pipe<'_> {
    pub(super) fn new(stdin: ChildStdin, stop: &AtomicBool) -> std::io::Result<Pipe<'_>> {
        // A write into a full pipe must not block, since it could not be cancelled.
        rustix::io::ioctl_fionbio(&stdin, true)?;
        Ok(Pipe { stdin, written: 0, stop })
    }

    /// Writes all of `bytes`; `false` where the command was given up before, or no process can read them any more.
    pub(super) fn put(&mut self, mut bytes: &[u8]) -> std::io::Result<bool> {
        let mut pause = Pause::default();
        while !bytes.is_empty() {
            match self.stdin.write(bytes) {
                Ok(count) => {
                    self.written += count as u64;
                    bytes = &bytes[count..];
                    pause = Pause::default();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.stop.load(Relaxed) {
                        return Ok(false);
                    }
                    self.poll(PollFlags::OUT, pause.next())?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Waits until the command has read everything that was written; `false` where the command was given up before,
    /// or no process can read the rest any more.
    ///
    /// The pipe buffers up to 64 KiB, so written does not mean read. The pipe is still open, so the command has not
    /// seen the end of its input: a command that reads all of it cannot have ended.
    pub(super) fn is_read(&self) -> std::io::Result<bool> {
        let mut pause = Pause::default();
        let mut is_over = false;
        while self.unread()? > 0 {
            if is_over {
                return Ok(false);
            }
            // poll() tells when the last reader has closed the pipe, but not when the pipe becomes empty.
            is_over = self.stop.load(Relaxed) || self.poll(PollFlags::empty(), pause.next())?;
        }
        Ok(true)
    }

    /// Bytes that the command has read.
    pub(super) fn read(&self) -> std::io::Result<u64> {
        Ok(self.written.saturating_sub(self.unread()?))
    }

    /// Bytes in the pipe; Linux tells them at the writing end too.
    fn unread(&self) -> std::io::Result<u64> {
        Ok(rustix::io::ioctl_fionread(&self.stdin)?)
    }

    /// Waits for `events`; returns whether no process can read any more.
    fn poll(&self, events: PollFlags, most: Duration) -> std::io::Result<bool> {
        let mut asked = [PollFd::new(&self.stdin, events)];
        let most = Timespec { tv_sec: 0, tv_nsec: most.as_nanos() as _ };
        match poll(&mut asked, Some(&most)) {
            Ok(_) => Ok(asked[0].revents().contains(PollFlags::ERR)),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Sends what the command writes to `pieces`, until its output ends or the receiver is dropped.
pub(super) fn drain(mut stdout: ChildStdout, pieces: SyncSender<std::io::Result<Vec<u8>>>) {
    loop {
        let mut piece = vec![0; PIPE_BYTES];
        let told = match stdout.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                piece.truncate(count);
                pieces.send(Ok(piece))
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = pieces.send(Err(error));
                return;
            }
        };
        if told.is_err() {
            return;
        }
    }
}
