//! A recorder for the `metrics` crate: what an application already counts and measures becomes dots.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path();
//! use dotter_publisher::Publisher;
//! use dotter_publisher::metrics::DotRecorder;
//!
//! let publisher = Publisher::create(path, 100_000)?; // or Publisher::open("shop")?
//! metrics::set_global_recorder(DotRecorder::new(publisher))?;
//! metrics::counter!("orders", "shop" => "north").increment(1); // series orders;shop=north
//! metrics::histogram!("latency").record(0.25);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Labels become tags. A counter publishes its running total, a gauge its value, a histogram every value that
//! is recorded: nothing is summed up before it is stored. What has no name a series can have is counted as
//! refused.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use dotter_ring::SlowPath;

use crate::known::Known;
use crate::{Publisher, Series, foreign};

/// Publishes what the `metrics` macros say; see [the module](self).
#[derive(Debug)]
pub struct DotRecorder {
    publisher: Publisher,
    // A macro asks for its metric each time it runs.
    counters: Known<Key, Arc<Total>>,
    gauges: Known<Key, Arc<Level>>,
    histograms: Known<Key, Arc<Values>>,
    /// Locked only on the slow path, so that a forked child finds it free.
    units: Mutex<HashMap<String, &'static str>>,
}

impl DotRecorder {
    /// Publishes through `publisher`, with its instance if it has one.
    pub fn new(publisher: Publisher) -> DotRecorder {
        DotRecorder {
            publisher,
            counters: Known::default(),
            gauges: Known::default(),
            histograms: Known::default(),
            units: Mutex::default(),
        }
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>) {
        let unit = unit.map_or("", |unit| unit.as_canonical_label());
        if !unit.is_empty()
            && let Some(inside) = SlowPath::enter()
        {
            self.units(&inside).insert(name.as_str().to_owned(), unit);
        }
    }

    fn units(&self, _inside: &SlowPath) -> MutexGuard<'_, HashMap<String, &'static str>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metric of that key, new or known.
    fn metric<M>(
        &self,
        known: &Known<Key, Arc<M>>,
        key: &Key,
        make: impl FnOnce(&Publisher, &str, &str) -> M,
    ) -> Arc<M> {
        let make = || {
            let described = |inside| self.units(&inside).get(key.name()).copied();
            let unit = SlowPath::enter().and_then(described).unwrap_or("");
            let name = foreign::name(key.name(), key.labels().map(|label| (label.key(), label.value())));
            Arc::new(make(&self.publisher, &name, unit))
        };
        known.with(key, make, Arc::clone)
    }
}

impl Recorder for DotRecorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, unit);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, unit);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let make = |publisher: &Publisher, name: &str, unit: &str| {
            let counter = publisher.counter(name).ok();
            match counter.map(|counter| if unit.is_empty() { counter } else { counter.unit(unit) }) {
                Some(counter) => Total::Counted(counter),
                None => Total::Refused(publisher.refused_series()),
            }
        };
        self.metric(&self.counters, key, make).into()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let make = |publisher: &Publisher, name: &str, unit: &str| Level {
            series: foreign::series(publisher, name, unit),
            bits: AtomicU64::new(0),
        };
        self.metric(&self.gauges, key, make).into()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let make =
            |publisher: &Publisher, name: &str, unit: &str| Values(foreign::series(publisher, name, unit));
        self.metric(&self.histograms, key, make).into()
    }
}

/// A counter.
#[derive(Debug)]
enum Total {
    Counted(crate::Counter),
    /// Its name is none.
    Refused(Series),
}

impl CounterFn for Total {
    fn increment(&self, value: u64) {
        match self {
            Total::Counted(counter) => counter.count(value),
            Total::Refused(series) => series.dot(value as f64),
        }
    }

    fn absolute(&self, value: u64) {
        match self {
            Total::Counted(counter) => counter.reach(value),
            Total::Refused(series) => series.dot(value as f64),
        }
    }
}

/// A gauge and what it shows, as the bits of an f64.
#[derive(Debug)]
struct Level {
    series: Series,
    bits: AtomicU64,
}

impl Level {
    fn change(&self, change: impl Fn(f64) -> f64) {
        let change = |bits| Some(change(f64::from_bits(bits)).to_bits());
        // Relaxed: one word that stands for itself.
        let before = self.bits.fetch_update(Relaxed, Relaxed, change);
        let now = before.ok().and_then(change).map_or(f64::NAN, f64::from_bits);
        self.series.dot(now);
    }
}

impl GaugeFn for Level {
    fn increment(&self, value: f64) {
        self.change(|now| now + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|now| now - value);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

/// A histogram: every value is a dot.
#[derive(Debug)]
struct Values(Series);

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        self.0.dot(value);
    }
}
