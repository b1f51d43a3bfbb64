//! A workload whose every dot follows from its lane and record number, so that a test can check what became
//! of each.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dotter_daemon::{StopFlag, stop_on_signals};
use dotter_publisher::{Lane, Publisher, Series, Timestamp};

use crate::{Error, Size};

/// Between two looks at the stop flag, where nothing paces the writer.
const BURST_DOTS: u64 = 256;
/// The shortest wait of a paced writer.
const TICK: Duration = Duration::from_millis(1);
/// Between the explicit times of two neighbouring records.
const TIME_STEP: Duration = Duration::from_micros(1);

/// What to publish.
#[derive(Debug)]
pub struct Load {
    /// Where the ring goes.
    pub path: PathBuf,
    /// Lanes, each with a thread.
    pub lanes: u32,
    /// Dots in each lane, at most 2^32.
    pub dots: u64,
    /// Series in each lane.
    pub series: u32,
    /// Dots a second and lane; `None` for as fast as can be.
    pub rate: Option<f64>,
    /// How much a lane holds.
    pub size: Size,
    /// Keep the ring open after the last dot, until asked to stop.
    pub hold: bool,
}

impl Load {
    pub(crate) fn run(self) -> Result<(), Error> {
        let stop = stop_on_signals().map_err(Error::io("cannot take signals"))?;
        let publisher = Publisher::options()
            .application("load")
            .path(&self.path)
            .lane_dots(self.size.dots)
            // One more than is used: the shared lane would be the last.
            .lanes_max(self.lanes + 1)
            .registry_bytes((1 << 20).max(self.lanes as u64 * self.series as u64 * 64))
            .open()?;
        let mut work = Vec::new();
        for lane in 0..self.lanes {
            let names = (0..self.series).map(|series| format!("load.l{lane}.s{series}"));
            let series = names.map(|name| publisher.series(&name)).collect::<Result<Vec<_>, _>>()?;
            // Lanes are given out in order, so the number is the one the ring uses.
            work.push((lane, publisher.lane()?, series));
        }
        let start = Timestamp::now();
        std::thread::scope(|scope| {
            for (lane, writer, series) in work {
                let (load, stop) = (&self, stop.clone());
                scope.spawn(move || load.write(lane, writer, &series, start, &stop));
            }
        });
        if self.hold {
            eprintln!("dotter-publisher: all dots written, holding the ring until asked to stop");
            while !stop.wait(Duration::from_secs(3600)) {}
        }
        let refused = publisher.refused();
        let refused = refused.series + refused.signal_handler + refused.too_big + refused.other;
        let published = publisher.published();
        // The lanes asked for; where there was no room for one, its dots are in the shared lane behind them.
        let last = published.iter().rposition(|records| *records > 0).map_or(0, |last| last + 1);
        let lanes = last.max(self.lanes as usize).min(published.len());
        let published: Vec<String> = published[..lanes].iter().map(u64::to_string).collect();
        let incarnation = publisher.incarnation();
        println!(
            r#"{{"incarnation": "{incarnation}", "published": [{}], "refused": {refused}}}"#,
            published.join(", ")
        );
        Ok(())
    }

    fn write(&self, lane: u32, mut writer: Lane, series: &[Series], start: Timestamp, stop: &StopFlag) {
        let began = Instant::now();
        let mut number = 0;
        while number < self.dots && !stop.is_set() {
            let due = match self.rate {
                None => number + BURST_DOTS,
                Some(rate) => {
                    let due = (began.elapsed().as_secs_f64() * rate) as u64 + 1;
                    if due <= number {
                        let wait = (number + 1) as f64 / rate - began.elapsed().as_secs_f64();
                        stop.wait(Duration::try_from_secs_f64(wait).unwrap_or(TICK).max(TICK));
                        continue;
                    }
                    due
                }
            };
            for number in number..due.min(self.dots) {
                let series = &series[(number % series.len() as u64) as usize];
                let value = value(lane, number);
                if number % 2 == 0 {
                    writer.dot(series, value);
                } else {
                    let since = TIME_STEP.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
                    writer.dot_at(series, start.saturating_add(since), value);
                }
            }
            number = due.min(self.dots);
        }
    }
}

/// What a test expects of a record.
fn value(lane: u32, number: u64) -> f64 {
    (lane as u64 * (1 << 32) + number) as f64
}
