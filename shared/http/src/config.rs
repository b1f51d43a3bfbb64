//! What a server is told: where to listen, whom to answer, and every limit, with a default for each.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{LiveCounters, Token};

/// Where to listen, whom to answer and what nobody may exceed.
///
/// Made by [`Config::new`], then changed field by field.
#[derive(Clone, Debug)]
pub struct Config {
    /// Public address. Anything but loopback needs a [`token`](Self::token). Port 0 takes any free port.
    pub listen: SocketAddr,
    /// `Host` names answered besides `localhost`, `127.0.0.1`, `[::1]` and the bound address.
    pub hosts: Vec<String>,
    /// What a request must carry in `Authorization: Bearer`.
    pub token: Option<Token>,
    /// Whether requests that only read need the token too, as they do unless told otherwise.
    pub token_for_reads: bool,
    /// Exact paths (percent-decoded) that are read without the token all the same, such as `/-/healthy`.
    pub open_reads: Vec<String>,
    /// Exact paths (percent-decoded) whose POST only reads, such as `/render`.
    pub reading_posts: Vec<String>,

    /// Threads that run the handler: as many requests as run at once.
    pub threads: usize,
    /// Connections at once, streams not counted; lowered when the descriptor limit is small.
    pub connections_max: usize,
    /// Connections and streams of one address (IPv6: one /64); loopback is exempt, it is everyone.
    pub connections_per_address_max: usize,
    /// Event streams at once, counted apart from other connections.
    pub streams_max: usize,
    /// Connections that the process takes at other ports: they share the descriptor limit, see
    /// [`Server::others_max`](crate::Server::others_max).
    pub others_max: usize,

    /// Longest request line and headers, in bytes.
    pub head_bytes_max: usize,
    /// Longest request body, in bytes.
    pub body_bytes_max: usize,
    /// Request bytes held over all clients.
    pub request_bytes_all_max: usize,
    /// Answer bytes held over all clients; past it the slowest reader is dropped.
    pub answer_bytes_all_max: usize,

    /// A new connection, or the first byte of a request, until the whole head is here.
    pub head_deadline: Duration,
    /// From the whole head to the whole body.
    pub body_deadline: Duration,
    /// A kept connection without a request.
    pub idle_deadline: Duration,
    /// A complete request until a handler takes it.
    pub queue_deadline: Duration,
    /// A reader takes 64 KiB of its answer, or the rest, each time this long.
    pub stall_deadline: Duration,
    /// Silence after which a stream is sent an empty comment.
    pub heartbeat: Duration,

    /// A socket file beside the public address, mode 0600: whoever can open it needs no token.
    pub socket_file: Option<PathBuf>,
    /// Where the private socket's directory is made; the system's temporary directory when `None`.
    pub socket_dir: Option<PathBuf>,
    /// What the server will count into; keep a clone for a handler that shows it.
    pub counters: LiveCounters,
}

impl Config {
    /// Every default, for one address.
    pub fn new(listen: SocketAddr) -> Config {
        Config {
            listen,
            hosts: Vec::new(),
            token: None,
            token_for_reads: true,
            open_reads: Vec::new(),
            reading_posts: Vec::new(),
            threads: 4,
            connections_max: 512,
            connections_per_address_max: 128,
            streams_max: 200,
            others_max: 0,
            head_bytes_max: 16 << 10,
            body_bytes_max: 4 << 20,
            request_bytes_all_max: 64 << 20,
            answer_bytes_all_max: 48 << 20,
            head_deadline: Duration::from_secs(5),
            body_deadline: Duration::from_secs(20),
            idle_deadline: Duration::from_secs(15),
            queue_deadline: Duration::from_secs(10),
            stall_deadline: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            socket_file: None,
            socket_dir: None,
            counters: LiveCounters::default(),
        }
    }
}
