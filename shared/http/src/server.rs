//! Starting and stopping: the parts of a server and the order they come and go in.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};

use crate::descriptors;
use crate::gate::{Gate, Shared};
use crate::handlers::{Handlers, Handover};
use crate::rules::Rules;
use crate::socket::{Listener, SocketFile};
use crate::socket_dir::SocketDir;
use crate::waker;
use crate::{Config, Counters, Error, LiveCounters, Request, Response};

/// What the kernel keeps per connection and direction. It grows buffers into megabytes by itself, which
/// times the connections would be more than all that is bounded here.
const SOCKET_BUFFER_BYTES: usize = 256 << 10;
/// After this long without an acknowledgement from its machine a client is gone, in milliseconds. No
/// deadline here sees that for a stream: its heartbeats are few bytes, which the kernel takes.
const UNACKNOWLEDGED_MAX_MS: u32 = 30_000;

/// A running server. Dropping it is [`stop`](Self::stop) without grace.
pub struct Server {
    local_addr: SocketAddr,
    others_max: usize,
    shared: Arc<Shared>,
    counters: LiveCounters,
    gate: Option<JoinHandle<()>>,
    handlers: Option<Handlers>,
    _file: Option<SocketFile>,
    /// Goes last: tiny_http reaches through it to end its own threads.
    _dir: SocketDir,
}

impl Server {
    /// Opens the door. `handler` is called from [`Config::threads`] threads at once.
    ///
    /// The soft limit on open files is raised as far as the configured connections need. SIGPIPE has to
    /// stay ignored, as Rust starts every program.
    ///
    /// # Errors
    ///
    /// See [`Error`]; above all [`Error::NotLoopback`] for an address others can reach without a token,
    /// and [`Error::Bind`].
    pub fn start(
        config: Config,
        handler: impl Fn(Request) -> Response + Send + Sync + 'static,
    ) -> Result<Server, Error> {
        if !config.listen.ip().to_canonical().is_loopback() && config.token.is_none() {
            return Err(Error::NotLoopback { addr: config.listen });
        }
        // Room for one body of the greatest length that is on its way in and one that is passed on.
        let one_at_least = 2 * (config.body_bytes_max + config.head_bytes_max);
        let request_bytes_all_max = config.request_bytes_all_max.max(one_at_least);
        let config = Config { threads: config.threads.max(1), request_bytes_all_max, ..config };
        let rules = Rules::new(&config)?;
        let caps = descriptors::caps(&config)?;
        let others_max = caps.others;
        let bind = |source| Error::Bind { addr: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(bind)?;
        prepare(&listener).map_err(|e| bind(e.into()))?;
        listener.set_nonblocking(true).map_err(bind)?;
        let local_addr = listener.local_addr().map_err(bind)?;

        let mut listeners = vec![Listener::Tcp(listener)];
        let mut file = None;
        if let Some(path) = &config.socket_file {
            let failed = |source| Error::SocketFile { path: path.clone(), source };
            let (listener, made) = SocketFile::listen(path).map_err(failed)?;
            listeners.push(Listener::File(listener));
            file = Some(made);
        }

        let parent = config.socket_dir.clone().unwrap_or_else(std::env::temp_dir);
        let dir = SocketDir::create(&parent)?;
        let private = |source| Error::Private { path: dir.socket(), source };
        let private_listener = UnixListener::bind(dir.socket()).map_err(private)?;
        let no_wakeups = |source| Error::Resources { what: "the wake-up socket", source };
        let (waker, wakeups) = waker::pair().map_err(no_wakeups)?;
        let shared = Arc::new(Shared {
            waker: Arc::new(waker),
            handover: Arc::new(Handover::default()),
            counters: config.counters.live.clone(),
            stop_by: Mutex::new(None),
        });
        let counters = config.counters.clone();
        let handlers = Handlers::start(
            private_listener,
            config.threads,
            Arc::new(handler),
            shared.handover.clone(),
            shared.counters.clone(),
        )
        .map_err(private)?;
        let gate = Gate::new(listeners, wakeups, shared.clone(), config, rules, caps, dir.socket());
        let run = move || {
            let _guard = AbortOnPanic;
            gate.run();
        };
        let no_thread = |source| Error::Resources { what: "the poll thread", source };
        let gate = thread::Builder::new().name("http-gate".into()).spawn(run).map_err(no_thread)?;
        Ok(Server {
            local_addr,
            others_max,
            shared,
            counters,
            gate: Some(gate),
            handlers: Some(handlers),
            _file: file,
            _dir: dir,
        })
    }

    /// Where clients reach it; the port is the real one when the configured one was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many connections the process may take at other ports: [`Config::others_max`], or what the descriptor limit
    /// leaves of it, one at least where any were asked for.
    pub fn others_max(&self) -> usize {
        self.others_max
    }

    /// What the door has seen so far.
    pub fn counters(&self) -> Counters {
        self.counters.snapshot()
    }

    /// Stops accepting, lets requests that have begun finish and ends streams, for at most `grace`. A
    /// handler that runs on after that is left to itself; its answer goes nowhere.
    pub fn stop(mut self, grace: Duration) {
        self.shut(grace);
    }

    fn shut(&mut self, grace: Duration) {
        let stop_by = Instant::now() + grace;
        *self.shared.stop_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop_by);
        self.shared.waker.wake();
        if let Some(gate) = self.gate.take() {
            // It does not panic: the process would be gone.
            let _ = gate.join();
        }
        if let Some(handlers) = self.handlers.take() {
            handlers.stop(stop_by.saturating_duration_since(Instant::now()));
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut(Duration::ZERO);
    }
}

/// Accepted connections inherit these.
fn prepare(listener: &TcpListener) -> nix::Result<()> {
    setsockopt(listener, sockopt::SndBuf, &SOCKET_BUFFER_BYTES)?;
    setsockopt(listener, sockopt::RcvBuf, &SOCKET_BUFFER_BYTES)?;
    setsockopt(listener, sockopt::TcpUserTimeout, &UNACKNOWLEDGED_MAX_MS)?;
    // The standard library asks for a queue of 128, which a burst overflows: those clients would try
    // again only after a second.
    listen(listener, Backlog::MAXCONN)
}

/// Ends the process when the thread that holds it panics. A door without its poll thread would accept
/// nobody and look alive.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("a thread of the front door panicked; ending the process so that it is restarted");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// Set for the child that is to panic.
    const PANIC: &str = "DOTTER_TEST_PANIC";

    #[test]
    fn a_panic_in_the_poll_thread_ends_the_process() {
        if std::env::var_os(PANIC).is_some() {
            let thread = thread::spawn(|| {
                let _guard = AbortOnPanic;
                panic!("as a bug would");
            });
            let _ = thread.join();
            std::process::exit(0);
        }
        let name = "server::tests::a_panic_in_the_poll_thread_ends_the_process";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name]).env(PANIC, "1").output().unwrap();
        assert_eq!(output.status.signal(), Some(nix::libc::SIGABRT), "{output:?}");
    }
}
