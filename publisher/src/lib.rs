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
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each thread writes to a *lane* of its own, which it gets with its first dot and which the next thread
//! takes over when it ends. A thread that publishes millions of dots a second can hold a [`Lane`] itself.
//!
//! What always holds:
//!
//! - a dot never blocks, never fails, and never makes a system call but for the first of a thread and
//!   once in 20 ms; only threads beyond the ring's lanes wait for each other
//! - a dot that cannot be written is counted in the ring, and shows in the ledger as refused
//! - a forked child has a ring of its own from its first dot on
//! - the ring is closed when the publisher and all its handles are gone

mod lane;
mod local;
mod options;
mod publisher;
mod seat;

pub use dotter_dot::{Incarnation, NameError, SeriesName, Timestamp};
pub use dotter_ring::{Clock, ClockKind, Error, Refusals};

pub use lane::Lane;
pub use options::Options;
pub use publisher::{Publisher, Series};
