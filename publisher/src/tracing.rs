//! A layer for the `tracing` crate: how long spans live and how often events happen becomes dots.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path();
//! use dotter_publisher::Publisher;
//! use dotter_publisher::tracing::DotLayer;
//! use tracing_subscriber::layer::SubscriberExt;
//!
//! let publisher = Publisher::create(path, 100_000)?; // or Publisher::open("shop")?
//! let subscriber = tracing_subscriber::registry().with(DotLayer::new(publisher));
//! tracing::subscriber::with_default(subscriber, || {
//!     let _span = tracing::info_span!(target: "shop::till", "checkout").entered();
//!     tracing::warn!(target: "shop::till", queue = 7, "long queue");
//! });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | what | series | dots |
//! |---|---|---|
//! | a span's life | `span.shop.till.checkout` | milliseconds, when it closes |
//! | an event | `event.shop.till;level=warn` | running total |
//! | a number in an event | `event.shop.till.queue` | its value |
//!
//! Texts and other fields are left to who writes logs.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tracing_core::callsite::Identifier;
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id};
use tracing_core::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use dotter_ring::SlowPath;

use crate::known::Known;
use crate::{Counter, Publisher, Series, foreign};

/// Publishes spans and events; see [the module](self).
#[derive(Debug)]
pub struct DotLayer {
    publisher: Publisher,
    /// Which layer of the process it is: a subscriber may have several.
    number: u64,
    places: Known<Identifier, Place>,
}

/// The series of one place in the code.
#[derive(Debug)]
struct Place {
    /// Of a span.
    life: Option<Series>,
    /// Of an event.
    count: Option<Counter>,
    /// Of an event's fields, by their index; those that never were a number have none. Set only on the slow path,
    /// so that a forked child finds each either set or not.
    fields: Vec<OnceLock<Series>>,
}

/// When a span began, by the number of the layer that saw it begin.
struct Began(Vec<(u64, Instant)>);

impl DotLayer {
    /// Publishes through `publisher`, with its instance if it has one.
    pub fn new(publisher: Publisher) -> DotLayer {
        static LAYERS: AtomicU64 = AtomicU64::new(0);
        DotLayer { publisher, number: LAYERS.fetch_add(1, Relaxed), places: Known::default() }
    }

    /// Works with what there is for that place in the code; made where it is new.
    fn with_place<T>(&self, metadata: &Metadata<'_>, work: impl FnOnce(&Place) -> T) -> T {
        self.places.with(&metadata.callsite(), || self.make(metadata), work)
    }

    fn make(&self, metadata: &Metadata<'_>) -> Place {
        let target = metadata.target().replace("::", ".");
        if metadata.is_span() {
            let name = foreign::name(&format!("span.{target}.{}", metadata.name()), std::iter::empty());
            let life = Some(foreign::series(&self.publisher, &name, "ms"));
            return Place { life, count: None, fields: Vec::new() };
        }
        let level = match *metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let name = foreign::name(&format!("event.{target}"), [("level", level)].into_iter());
        let fields = metadata.fields().iter().map(|_| OnceLock::new()).collect();
        Place { life: None, count: self.publisher.counter(&name).ok(), fields }
    }

    /// A new series for an event's field, which was a number.
    fn field(&self, metadata: &Metadata<'_>, field: &Field, place: &OnceLock<Series>) -> Series {
        let target = metadata.target().replace("::", ".");
        let name = foreign::name(&format!("event.{target}.{}", field.name()), std::iter::empty());
        let series = foreign::series(&self.publisher, &name, "");
        if let Some(_inside) = SlowPath::enter() {
            // Another thread may have been first: both are the same series.
            let _ = place.set(series.clone());
        }
        series
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for DotLayer {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let began = (self.number, Instant::now());
            let mut extensions = span.extensions_mut();
            match extensions.get_mut::<Began>() {
                Some(others) => others.0.push(began),
                None => drop(extensions.replace(Began(vec![began]))),
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let mine = |began: &Began| began.0.iter().find(|(layer, _)| *layer == self.number).copied();
        let Some((_, began)) = span.extensions().get::<Began>().and_then(mine) else { return };
        let life = began.elapsed();
        self.with_place(span.metadata(), |place| {
            if let Some(series) = &place.life {
                series.dot(life.as_secs_f64() * 1e3);
            }
        });
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        self.with_place(metadata, |place| {
            match &place.count {
                Some(counter) => counter.count(1),
                // Its name is none.
                None => self.publisher.refused_series().dot(1.0),
            }
            event.record(&mut Fields { layer: self, metadata, place });
        });
    }
}

/// Publishes the numbers among an event's fields.
struct Fields<'a> {
    layer: &'a DotLayer,
    metadata: &'a Metadata<'a>,
    place: &'a Place,
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let Some(place) = self.place.fields.get(field.index()) else { return };
        match place.get() {
            Some(series) => series.dot(value),
            None => self.layer.field(self.metadata, field, place).dot(value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record_f64(field, value as f64);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_f64(field, value as f64);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.record_f64(field, value as f64);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.record_f64(field, value as f64);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
