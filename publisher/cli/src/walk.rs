//! A random walk: something that moves.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dotter_daemon::stop_on_signals;

use crate::pace::Pace;
use crate::{Error, Size, publisher};

/// A random walk, as series `data`.
#[derive(Debug)]
pub struct Walk {
    /// Where the ring goes.
    pub path: PathBuf,
    /// How much a lane holds.
    pub size: Size,
    /// Dots a second.
    pub rate: f64,
}

impl Walk {
    pub(crate) fn run(self) -> Result<(), Error> {
        let stop = stop_on_signals().map_err(Error::io("cannot take signals"))?;
        let publisher = publisher("walk", Some(&self.path), Some(self.size))?;
        let data = publisher.series("data")?;
        eprintln!(
            "dotter-publisher: walking at {} dots a second in {}",
            self.rate,
            publisher.path().display()
        );
        let mut steps = Steps(RandomState::new().hash_one(0));
        let mut pace = Pace::new(Instant::now(), Duration::from_secs_f64(1.0 / self.rate));
        let mut value = 0.0;
        loop {
            value += steps.next();
            data.dot(value);
            if pace.wait(&stop) {
                return Ok(());
            }
        }
    }
}

/// Steps between -1 and 1, evenly.
///
/// Source: Sebastiano Vigna's splitmix64.
struct Steps(u64);

impl Steps {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_both_ways_and_stay_small() {
        let mut steps = Steps(1);
        let all: Vec<f64> = (0..10_000).map(|_| steps.next()).collect();
        assert!(all.iter().all(|step| (-1.0..1.0).contains(step)));
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        assert!(mean.abs() < 0.05, "{mean}");
    }
}
