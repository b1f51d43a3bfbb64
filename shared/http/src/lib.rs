//! The front door: strict, bounded, with deadlines; the only user of tiny_http.
//!
//! ```text
//! clients ==> one poll(2) thread ==> private Unix sockets ==> tiny_http ==> handler threads
//!             public port            complete, checked        parses,       your closure,
//!             limits, deadlines      requests only            answers       under catch_unwind
//! ```
//!
//! Always true, whatever clients do:
//!
//! - tiny_http never sees a head that has not been checked and written anew, never sees part of a request
//!   and never meets a peer that is slow: all of that stays in the poll thread
//! - every connection that owes a request, or does not take its answer, has a deadline
//! - bytes held, connections, streams and threads have upper bounds that no client can raise
//! - a handler that panics costs one `500`; the poll thread panicking ends the process, which is then
//!   restarted, rather than living on half dead
//!
//! Handlers are called with a whole [`Request`] and return a whole [`Response`], or the response end of
//! an [`event_stream`], whose sender they keep wherever events are made, or a [`byte_stream`], whose sender a thread
//! feeds.
//!
//! ```no_run
//! use dotter_http::{Config, Request, Response, Server};
//!
//! let config = Config::new("127.0.0.1:8000".parse().unwrap());
//! let server = Server::start(config, |request: Request| match request.path.as_str() {
//!     "/hello" => Response::text(200, "hello\n"),
//!     _ => Response::text(404, "no such page\n"),
//! })?;
//! println!("listening on {}", server.local_addr());
//! server.stop(std::time::Duration::from_secs(4));
//! # Ok::<(), dotter_http::Error>(())
//! ```

mod config;
mod connection;
mod counters;
mod descriptors;
mod error;
mod gate;
mod handlers;
mod head;
mod output;
mod private;
mod query;
mod request;
mod response;
mod rules;
mod server;
mod socket;
mod socket_dir;
mod stream;
mod token;
mod waker;

pub use config::Config;
pub use counters::{Counters, LiveCounters};
pub use error::Error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use head::fuzz as fuzz_head;
pub use query::Query;
pub use request::{Headers, Method, Request};
pub use response::Response;
pub use server::Server;
pub use stream::{ByteSender, EventSender, byte_stream, event_stream};
pub use token::Token;
