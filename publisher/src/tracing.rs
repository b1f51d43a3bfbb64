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

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use tracing_core::callsite::Identifier;
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id};
use tracing_core::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::{Counter, Publisher, Series, foreign};

/// Publishes spans and events; see [the module](self).
#[derive(Debug)]
pub struct DotLayer {
    publisher: Publisher,
    known: RwLock<HashMap<Identifier, Known>>,
}

/// The series of one place in the code.
#[derive(Clone, Debug)]
struct Known {
    /// Of a span.
    life: Option<Series>,
    /// Of an event.
    count: Option<Counter>,
    /// Of an event's fields, by their index; those that never were a number have none.
    fields: Vec<Option<Series>>,
}

/// When a span began.
struct Began(Instant);

impl DotLayer {
    /// Publishes through `publisher`, with its instance if it has one.
    pub fn new(publisher: Publisher) -> DotLayer {
        DotLayer { publisher, known: RwLock::default() }
    }

    /// What there is for that place in the code; made where it is new.
    fn with_known<T>(&self, metadata: &Metadata<'_>, work: impl FnOnce(&Known) -> T) -> T {
        let place = metadata.callsite();
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&place) {
            return work(known);
        }
        let made = self.make(metadata);
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        work(all.entry(place).or_insert(made))
    }

    fn make(&self, metadata: &Metadata<'_>) -> Known {
        let target = metadata.target().replace("::", ".");
        if metadata.is_span() {
            let name = foreign::name(&format!("span.{target}.{}", metadata.name()), std::iter::empty());
            let life = Some(foreign::series(&self.publisher, &name, "ms"));
            return Known { life, count: None, fields: Vec::new() };
        }
        let level = match *metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let name = foreign::name(&format!("event.{target}"), [("level", level)].into_iter());
        let fields = vec![None; metadata.fields().len()];
        Known { life: None, count: self.publisher.counter(&name).ok(), fields }
    }

    /// The series of an event's field, which was a number.
    fn field(&self, metadata: &Metadata<'_>, field: &Field) -> Option<Series> {
        let place = metadata.callsite();
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let known = match all.entry(place) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) => return None,
        };
        let target = metadata.target().replace("::", ".");
        let name = foreign::name(&format!("event.{target}.{}", field.name()), std::iter::empty());
        let series = known.fields.get_mut(field.index())?;
        Some(series.get_or_insert_with(|| foreign::series(&self.publisher, &name, "")).clone())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for DotLayer {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Began(Instant::now()));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(life) = span.extensions().get::<Began>().map(|began| began.0.elapsed()) else { return };
        self.with_known(span.metadata(), |known| {
            if let Some(series) = &known.life {
                series.dot(life.as_secs_f64() * 1e3);
            }
        });
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut new = Numbers::default();
        self.with_known(metadata, |known| {
            match &known.count {
                Some(counter) => counter.count(1),
                // Its name is none.
                None => self.publisher.refused_series().dot(1.0),
            }
            event.record(&mut Fields { known, new: &mut new });
        });
        for (field, value) in new.0 {
            if let Some(series) = self.field(metadata, &field) {
                series.dot(value);
            }
        }
    }
}

/// Numbers in fields that have no series yet.
#[derive(Default)]
struct Numbers(Vec<(Field, f64)>);

/// Publishes the numbers among an event's fields.
struct Fields<'a> {
    known: &'a Known,
    new: &'a mut Numbers,
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match self.known.fields.get(field.index()) {
            Some(Some(series)) => series.dot(value),
            _ => self.new.0.push((field.clone(), value)),
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
