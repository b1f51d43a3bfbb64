//! The four programs around one store and one place for rings.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dotter_dot::{Incarnation, SeriesName, TimeRange};
use dotter_store::{Account, Dot, Reader, Snapshot};
use tempfile::TempDir;

use crate::client::get;
use crate::oracle::Workload;
use crate::process::Process;
use crate::programs::program;
use crate::wait::{until, until_some};

/// Where the programs are, and those that run. Everything goes when this is dropped.
pub struct Pipeline {
    data: PathBuf,
    ring: PathBuf,
    address: IpAddr,
    /// The broker, where it runs.
    pub broker: Option<Process>,
    /// The collector, where it runs.
    pub collector: Option<Process>,
    /// The displayer, where it runs.
    pub displayer: Option<Process>,
    collector_port: u16,
    displayer_port: u16,
    // Dropped after the processes.
    _directories: [TempDir; 2],
}

impl Pipeline {
    /// Empty directories; nothing runs yet.
    ///
    /// # Panics
    ///
    /// Where there is no room for a directory.
    pub fn new() -> Pipeline {
        Pipeline::with_data_below(&std::env::temp_dir())
    }

    /// As [`Pipeline::new`], the store below `parent`.
    ///
    /// # Panics
    ///
    /// Where there is no room for a directory.
    pub fn with_data_below(parent: &Path) -> Pipeline {
        let data = TempDir::new_in(parent).expect("a temporary directory can be made");
        // Where rings belong: memory, not a disk that somebody syncs.
        let rings = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        let rings = rings.expect("a temporary directory can be made");
        Pipeline {
            data: data.path().join("store"),
            ring: rings.path().join("load.ring"),
            address: own_address(),
            broker: None,
            collector: None,
            displayer: None,
            collector_port: 0,
            displayer_port: 0,
            _directories: [data, rings],
        }
    }

    /// A pipeline with broker, collector and displayer running.
    ///
    /// # Panics
    ///
    /// Where one of them does not start.
    #[track_caller]
    pub fn start() -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.start_collector();
        pipeline.start_broker();
        pipeline.start_displayer();
        pipeline
    }

    /// The directory of the store.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The exact name of the ring the broker reads.
    pub fn ring(&self) -> &Path {
        &self.ring
    }

    /// Where the collector listens, once it has.
    pub fn collector_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.collector_port)
    }

    /// Where the displayer listens, once it has.
    pub fn displayer_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.displayer_port)
    }

    /// Starts the collector, where it was before, and does not wait for it.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    #[track_caller]
    pub fn launch_collector(&mut self) {
        let mut command = Command::new(program("dotter-collector"));
        command.arg("--data").arg(&self.data).args(["--listen", &self.collector_address().to_string()]);
        command.args(["--graphite", &SocketAddr::new(self.address, 0).to_string()]);
        self.collector = Some(Process::start(&mut command));
    }

    /// Starts the collector, where it was before; how long it took until it was ready.
    ///
    /// # Panics
    ///
    /// Where it does not become ready.
    #[track_caller]
    pub fn start_collector(&mut self) -> Duration {
        let start = Instant::now();
        self.launch_collector();
        self.collector_port = self.collector.as_ref().expect("just started").hear_address().port();
        let address = self.collector_address();
        until("a ready collector", || get(address, "/-/ready").is_some_and(|reply| reply.status == 200));
        start.elapsed()
    }

    /// Starts the broker.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    #[track_caller]
    pub fn start_broker(&mut self) {
        self.start_broker_with_poll("0.02");
    }

    /// Starts the broker with its second argument, in seconds.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    #[track_caller]
    pub fn start_broker_with_poll(&mut self, poll: &str) {
        let mut command = Command::new(program("dotter-broker"));
        command.arg(&self.ring).args([poll, &format!("http://{}/data", self.collector_address())]);
        self.broker = Some(Process::start(&mut command));
    }

    /// Starts the displayer, where it was before, and does not wait for it.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    #[track_caller]
    pub fn launch_displayer(&mut self) {
        let mut command = Command::new(program("dotter-displayer"));
        command.arg("--data").arg(&self.data).args(["--listen", &self.displayer_address().to_string()]);
        self.displayer = Some(Process::start(&mut command));
    }

    /// Starts the displayer, where it was before, and waits until it can read the store.
    ///
    /// # Panics
    ///
    /// Where it does not become ready.
    #[track_caller]
    pub fn start_displayer(&mut self) {
        self.launch_displayer();
        self.displayer_port = self.displayer.as_ref().expect("just started").hear_address().port();
        let address = self.displayer_address();
        until("a ready displayer", || get(address, "/-/ready").is_some_and(|reply| reply.status == 200));
    }

    /// Starts a publisher of `workload`, which writes into [`Pipeline::ring`].
    ///
    /// # Panics
    ///
    /// Where it does not start.
    #[track_caller]
    pub fn load(&self, workload: &Workload) -> Process {
        let mut command = Command::new(program("dotter-publisher"));
        command.arg("load").arg(&self.ring).args(workload.arguments());
        Process::start(&mut command)
    }

    /// Rings in the place of [`Pipeline::ring`]: the named one and those moved aside.
    ///
    /// # Panics
    ///
    /// Where the directory cannot be read.
    pub fn rings(&self) -> Vec<PathBuf> {
        let place = dotter_ring::directory::Place::of(&self.ring);
        dotter_ring::directory::scan(&place).expect("the directory of rings can be read")
    }

    /// A reader of the store, once there is one.
    ///
    /// # Panics
    ///
    /// Where there is none for long.
    #[track_caller]
    pub fn store(&self) -> Store {
        Store(until_some("a store", || Reader::open(&self.data).ok()))
    }

    /// What `dotter-store` answers to `arguments`, which must succeed.
    ///
    /// # Panics
    ///
    /// Where it does not.
    #[track_caller]
    pub fn ask_store(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("dotter-store"));
        Process::start(command.arg("-d").arg(&self.data).args(arguments)).finish()
    }
}

impl Default for Pipeline {
    fn default() -> Pipeline {
        Pipeline::new()
    }
}

/// A store as any process may read it.
pub struct Store(Reader);

impl Store {
    /// Everything committed by now.
    ///
    /// # Panics
    ///
    /// Where the store cannot be read.
    #[track_caller]
    pub fn now(&mut self) -> Snapshot {
        self.0.refresh(None).unwrap_or_else(|error| panic!("cannot read the store: {error}"));
        self.0.snapshot()
    }

    /// All dots of a series.
    ///
    /// # Panics
    ///
    /// Where the store cannot be read.
    #[track_caller]
    pub fn dots(&mut self, name: &str) -> Vec<Dot> {
        let name = SeriesName::new(name).expect("tests use names that are allowed");
        let dots = self.now().read(name.as_str(), TimeRange::ALL);
        dots.unwrap_or_else(|error| panic!("cannot read {name}: {error}"))
    }

    /// The account of a ring, where the store has heard of it.
    ///
    /// # Panics
    ///
    /// Where the store cannot be read.
    #[track_caller]
    pub fn account(&mut self, incarnation: Incarnation) -> Option<Account> {
        self.now().ledger().account(incarnation).cloned()
    }

    /// The account of a ring, once that is finished.
    ///
    /// # Panics
    ///
    /// Where that does not happen.
    #[track_caller]
    pub fn finished(&mut self, incarnation: Incarnation) -> Account {
        until_some("a finished account", || {
            self.account(incarnation).filter(|account| account.finished.is_some())
        })
    }
}

/// A loopback address that nobody else uses, so that a port of it stays free while its server is dead.
fn own_address() -> IpAddr {
    let [a, b, c, ..] = RandomState::new().hash_one(std::process::id()).to_le_bytes();
    IpAddr::V4(Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254)))
}
