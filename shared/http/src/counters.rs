//! What the door has seen, for /metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($name:ident: $help:literal,)*) => {
        /// What the door has seen since it opened, at one moment. Names ending in `_now` go up and down,
        /// all others only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $(#[doc = $help] pub $name: u64,)*
        }

        impl Counters {
            /// Every counter as (name, help, value).
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), $help, self.$name),)*].into_iter()
            }
        }

        /// Each stands for itself, so `Relaxed` is enough.
        #[derive(Debug, Default)]
        pub(crate) struct Live {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl LiveCounters {
            /// All of them at this moment.
            pub fn snapshot(&self) -> Counters {
                Counters { $($name: self.live.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    accepted: "Connections accepted.",
    served: "Answers of handlers written out whole.",
    refused: "Requests answered by the door itself, with a status of 400 or above.",
    unauthorized: "Requests refused for want of the token.",
    forbidden: "Requests refused for their Host or Origin.",
    evicted: "Connections closed to make room for others.",
    shed: "Connections turned away because nothing could be evicted for them.",
    timed_out: "Requests that did not arrive whole within their deadline.",
    stalled: "Clients dropped because they did not take their answer.",
    panicked: "Handler calls that panicked.",
    accept_errors: "Times accept failed and was paused.",
    private_failures: "Private connections that broke and were made anew.",
    streams_opened: "Event streams begun.",
    streams_refused: "Event streams turned away because there were too many.",
    received_bytes: "Bytes read from clients.",
    sent_bytes: "Bytes written to clients.",
    connections_now: "Connections open, streams not counted.",
    streams_now: "Event streams open.",
    waiting_now: "Complete requests that wait for a handler.",
    request_bytes_now: "Request bytes held.",
    answer_bytes_now: "Answer bytes held.",
}

/// The counters of one server, wherever they are to be seen: a handler that shows them keeps a clone of
/// [`Config::counters`](crate::Config::counters), since it is made before its server is.
#[derive(Clone, Debug, Default)]
pub struct LiveCounters {
    pub(crate) live: Arc<Live>,
}

pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Relaxed);
}

pub(crate) fn set(gauge: &AtomicU64, count: usize) {
    gauge.store(count as u64, Relaxed);
}
