//! One client's connection: what it owes, what it is owed, and until when.
//!
//! ```text
//! Idle -> Head -> Body -> Waiting -> Running -> Answering -> Idle, or Lingering when it is the last
//!                                           \-> Streaming -> Lingering
//! ```
//!
//! `Idle`, `Head` and `Body` owe us a request, `Waiting` and `Running` are owed an answer, the rest take
//! what they are owed. Only `Waiting` and `Running` are never evicted.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::head::Head;
use crate::output::Output;
use crate::socket::{Socket, Via};
use crate::stream::Stream;

/// A reader makes progress when it takes this much, or all that is left.
const PROGRESS_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) enum Phase {
    /// Kept for a next request, of which nothing is here.
    Idle,
    /// The head is awaited, from the first byte on or since the connection is new; `scanned` bytes of it
    /// have been looked at.
    Head { scanned: usize },
    /// The head has passed, its body is not whole.
    Body(Head),
    /// A complete request that no private connection is free for.
    Waiting(Box<Complete>),
    /// Inside tiny_http or the handler.
    Running,
    /// The answer is being written; a handler's, or the door's own.
    Answering { by_handler: bool },
    /// Events are being written as they come.
    Streaming { events: Stream, ended: bool, heartbeat_at: Instant },
    /// Everything is written and said to be the end. What the client still sends is thrown away for a
    /// moment: closing on it would reset the connection and could take the answer with it.
    Lingering,
}

/// A request as it is written to tiny_http.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// The answer to HEAD has no body, whatever its Content-Length says.
    pub(crate) is_head: bool,
}

impl Complete {
    pub(crate) fn bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    pub(crate) via: Via,
    pub(crate) phase: Phase,
    /// Received and not yet used.
    pub(crate) input: Vec<u8>,
    pub(crate) output: Output,
    /// When the phase has lasted too long; none while the handler has it.
    pub(crate) deadline: Option<Instant>,
    /// Since when it owes a request or has taken nothing of its answer.
    pub(crate) owes_since: Instant,
    /// Bytes written since the answer's deadline was last moved.
    progress: usize,
    pub(crate) keep_alive: bool,
    /// Its last request was of HTTP/1.1.
    pub(crate) knows_chunks: bool,
}

impl Connection {
    pub(crate) fn new(socket: Socket, via: Via, now: Instant, deadline: Duration) -> Connection {
        Connection {
            socket,
            via,
            phase: Phase::Head { scanned: 0 },
            input: Vec::new(),
            output: Output::default(),
            deadline: Some(now + deadline),
            owes_since: now,
            progress: 0,
            keep_alive: false,
            knows_chunks: false,
        }
    }

    /// Whether what the client sends is read now. Otherwise it stays in the socket and slows the sender.
    pub(crate) fn reads(&self) -> bool {
        !matches!(self.phase, Phase::Waiting(_) | Phase::Running | Phase::Answering { .. })
    }

    /// Request bytes held for this client here; those of a running request are its private connection's.
    pub(crate) fn request_bytes(&self) -> usize {
        let complete = if let Phase::Waiting(complete) = &self.phase { complete.bytes() } else { 0 };
        self.input.capacity() + complete
    }

    /// Reads once into `buffer`, at most what the phase has use for.
    pub(crate) fn read<'b>(&mut self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let count = (&self.socket).read(buffer)?;
        Ok(&buffer[..count])
    }

    /// Keeps received bytes. A body's room grows to its declared length and no further, and only as its
    /// bytes arrive: a declared length alone costs nothing.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if let Phase::Body(head) = &self.phase {
            let missing = head.body_bytes.saturating_sub(self.input.len());
            let doubled = self.input.len().max(PROGRESS_BYTES);
            self.input.reserve_exact(bytes.len().max(missing.min(doubled)));
        }
        self.input.extend_from_slice(bytes);
    }

    /// Writes what the socket takes. Whoever takes enough gets a new deadline; a trickle is not enough.
    pub(crate) fn write(&mut self, now: Instant, stall: Duration) -> io::Result<usize> {
        let count = self.output.write_to(&self.socket)?;
        if matches!(self.phase, Phase::Answering { .. } | Phase::Streaming { .. }) {
            self.progress += count;
            if self.output.is_empty() || self.progress >= PROGRESS_BYTES {
                self.renew(now, stall);
            }
        }
        Ok(count)
    }

    pub(crate) fn renew(&mut self, now: Instant, stall: Duration) {
        self.progress = 0;
        self.owes_since = now;
        let waits = !matches!(self.phase, Phase::Streaming { .. }) || !self.output.is_empty();
        self.deadline = waits.then(|| now + stall);
    }

    /// Who goes first when there is no room: the lower, the sooner. `None` is not to be evicted.
    ///
    /// Those that linger have all they are owed. Then whoever has owed a request longest: someone honest
    /// sends theirs with the connection. Last, readers who have not moved for `patience`.
    pub(crate) fn eviction_rank(&self, now: Instant, patience: Duration) -> Option<(u8, Instant)> {
        match self.phase {
            Phase::Lingering => Some((0, self.owes_since)),
            Phase::Idle | Phase::Head { .. } | Phase::Body(_) => Some((1, self.owes_since)),
            Phase::Answering { .. } if now.duration_since(self.owes_since) > patience => {
                Some((2, self.owes_since))
            }
            Phase::Waiting(_) | Phase::Running | Phase::Answering { .. } | Phase::Streaming { .. } => None,
        }
    }
}

/// Who is counted as one by the limit per address: an IPv4 address, or an IPv6 /64, which one customer
/// usually has whole. Loopback is every program of this machine, so nobody in particular.
pub(crate) fn address_group(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return None;
    }
    Some(match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_group_is_an_ipv4_address_or_an_ipv6_network() {
        let group = |a: &str| address_group(a.parse().unwrap()).map(|g| g.to_string());
        assert_eq!(group("127.3.2.1"), None);
        assert_eq!(group("::1"), None);
        assert_eq!(group("::ffff:127.0.0.1"), None);
        assert_eq!(group("192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(group("::ffff:192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(group("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::"));
    }
}
