//! What the broker's tests stand on: a collector behind a real socket that keeps the rules and can be told to lie,
//! and a broker that runs in a thread.

#![allow(dead_code, reason = "not every test file uses all of it")]

pub(crate) mod collector;

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dotter_broker::{Error, Options, Totals};
use dotter_daemon::{Log, StopFlag};

/// A broker in a thread; stopped and joined when dropped.
pub(crate) struct Broker {
    stop: StopFlag,
    thread: Option<JoinHandle<Result<Totals, Error>>>,
}

pub(crate) fn options(path: &Path, url: &str) -> Options {
    Options {
        path: Some(path.to_owned()),
        poll: Duration::from_millis(5),
        url: url.to_owned(),
        name: "test".into(),
        time_unit: dotter_broker::TimeUnit::default(),
        once: false,
        token: None,
    }
}

impl Broker {
    pub(crate) fn start(path: &Path, url: &str) -> Broker {
        Broker::with(options(path, url))
    }

    pub(crate) fn with(options: Options) -> Broker {
        let stop = StopFlag::default();
        let flag = stop.clone();
        let thread = std::thread::spawn(move || dotter_broker::run(&options, &flag, &Log::new("broker")));
        Broker { stop, thread: Some(thread) }
    }

    /// Stops it as SIGTERM does.
    pub(crate) fn stop(mut self) -> Totals {
        self.stop.set();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Posts what is there and returns.
pub(crate) fn once(path: &Path, url: &str) -> Totals {
    let options = Options { once: true, ..options(path, url) };
    dotter_broker::run(&options, &StopFlag::default(), &Log::new("broker")).unwrap()
}

/// Waits until `holds`; a minute at most.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < give_up, "waited a minute for: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
