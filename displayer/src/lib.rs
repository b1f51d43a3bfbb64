//! Live plots in a browser and answers for Graphite clients, straight from the store's files.
//!
//! ```text
//! store directory --> Feed --> follower thread --> Watched: the View that every request reads
//!  (read-only)       20 ms           |        \--> Pulse: newest value and rate of every series
//!                                    \----------> Live: recent news, one queue per viewer
//! View --> Source (of dotter-query) --> StoreSource: what every query asks, one snapshot of the store
//! browser, Grafana --> dotter-http --> Site: /, /render, /metrics/find, /dots, /api/*, /live
//! ```
//!
//! Always true: nothing is asked of the collector, so a heavy query can hurt only the displayer; no request
//! waits for another, they all read an immutable view; what a viewer does not take is dropped, counted and
//! told, never piled up.
#![doc = include_str!("../API.md")]

mod args;
mod error;
mod events;
mod feed;
mod find_page;
mod follower;
mod follows;
mod form;
mod live;
mod losses;
mod metrics;
mod page;
mod pieces;
mod pulse;
mod raw;
mod recent;
mod render_page;
mod replay;
mod run;
mod series_list;
mod site;
mod store_feed;
mod store_source;
mod watched;

#[cfg(test)]
mod fixture;

pub use args::Args;
pub use error::Error;
pub use feed::{ApplicationLosses, Feed, FeedError, LossNews, LossSpan, News, View};
pub use page::PAGE_KIND;
pub use run::{Displayer, Settings, run};
pub use store_feed::StoreFeed;
