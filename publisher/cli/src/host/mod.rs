//! What this machine does, from /proc.

mod protocols;
mod reading;
mod sampler;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dotter_daemon::{Log, stop_on_signals};
use dotter_publisher::{Publisher, Series, Timestamp};

use crate::pace::Pace;
use crate::{Error, publisher};
use reading::Reading;
use sampler::Sampler;

/// This machine, again and again.
#[derive(Debug)]
pub struct Host {
    /// Where the ring goes.
    pub path: Option<PathBuf>,
    /// Time between two samples.
    pub interval: Duration,
}

impl Host {
    pub(crate) fn run(self) -> Result<(), Error> {
        let stop = stop_on_signals().map_err(Error::io("cannot take signals"))?;
        let log = Log::new("dotter-publisher");
        let publisher = publisher("host", self.path.as_deref(), None)?;
        let mut sampler = Sampler::new("/proc".into(), "/sys".into());
        let mut board = Board::new(&publisher, &sampler.host_name());
        log.info(&format!("publishing {}* in {}", board.prefix, publisher.path().display()));
        let mut pace = Pace::new(Instant::now(), self.interval);
        loop {
            // One time for the whole sample, so that its series can be laid over each other.
            let (now, time) = (Instant::now(), Timestamp::now());
            for reading in sampler.sample(now) {
                board.publish(time, reading);
            }
            if pace.wait(&stop) {
                return Ok(());
            }
        }
    }
}

/// The series of one machine, made as readings come.
struct Board<'a> {
    publisher: &'a Publisher,
    prefix: String,
    /// `None` for a name that is no series name: a device may be called anything.
    series: HashMap<String, Option<Series>>,
}

impl Board<'_> {
    fn new<'a>(publisher: &'a Publisher, host: &str) -> Board<'a> {
        Board { publisher, prefix: format!("host.{host}."), series: HashMap::new() }
    }

    fn publish(&mut self, time: Timestamp, reading: Reading) {
        if !self.series.contains_key(&reading.name) {
            let name = format!("{}{}", self.prefix, reading.name);
            let series = self.publisher.series(&name).map(|series| series.unit(reading.unit)).ok();
            self.series.insert(reading.name.clone(), series);
        }
        if let Some(Some(series)) = self.series.get(&reading.name) {
            series.dot_at(time, reading.value);
        }
    }
}
