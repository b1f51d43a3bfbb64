//! What an application embeds to publish dots: numbers with a name and a time.
//!
//! A dot costs a few nanoseconds and no system call: it is written into a mapped file, a *ring*, from
//! which a broker takes it. Without a broker the ring overwrites its oldest dots; the application
//! notices nothing of either.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("shop.ring");
//! use dotter_publisher::Publisher;
//!
//! let publisher = Publisher::create(&path, 100_000)?; // or Publisher::open("shop")?
//! let latency = publisher.series("shop.checkout.latency")?.unit("ms");
//! latency.dot(12.5);
//! {
//!     let _timer = latency.timer(); // publishes how long this block takes, in ms
//! }
//! publisher.counter("shop.orders")?.count(1);
//! publisher.text("shop.log", "the first order is through")?;
//! let stock = publisher.row::<(u64, f64)>("shop.stock", &["pieces", "value"])?;
//! stock.dot((41, 820.0));
//! # assert_eq!(publisher.published().iter().sum::<u64>(), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All of it goes to the store as what it is, bit for bit: integers stay integers, a row keeps its columns.
//!
//! Each thread writes to a *lane* of its own, which it gets with its first dot and which the next thread
//! takes over when it ends. A thread that publishes millions of dots a second can hold a [`Lane`] itself.
//!
//! With the feature `metrics` there is a recorder for the `metrics` crate, with `tracing` a layer for the
//! `tracing` crate; both are off by default.
//!
//! What always holds:
//!
//! - a dot never blocks, never fails, and never makes a system call but for the first of a thread and
//!   once in 20 ms; only threads beyond the ring's lanes wait for each other
//! - a dot that cannot be written is counted in the ring, and shows in the ledger as refused
//! - a forked child has a ring of its own from its first dot on
//! - the ring is closed when the publisher and all its handles are gone

// What an application holds.
mod bytes;
mod counter;
mod lane;
mod options;
mod publisher;
mod row;
mod series;
mod text;
mod timer;

// The ways a dot takes.
mod handle;
mod home;
mod homeless;
mod local;
mod seat;
mod slowly;
mod total;
mod write;

// What other libraries say, published.
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod foreign;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod known;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "tracing")]
pub mod tracing;

pub use dotter_dot::{Incarnation, NameError, SeriesName, Timestamp};
pub use dotter_ring::{COLUMNS_MAX, Cell, Clock, ClockKind, Error, Number, Refusals, TEXT_BYTES_MAX};

pub use bytes::Bytes;
pub use counter::Counter;
pub use lane::Lane;
pub use options::Options;
pub use publisher::Publisher;
pub use row::{AnyRow, Columns, Row};
pub use series::Series;
pub use text::Text;
pub use timer::Timer;
