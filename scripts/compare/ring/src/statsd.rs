//! cadence: statsd lines, as datagrams to an agent on this machine, which here only takes them.

use std::error::Error;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use cadence::prelude::*;
use cadence::{BufferedUdpMetricSink, QueuingMetricSink, StatsdClient, UdpMetricSink};

use crate::measure::{Row, black_box, timed};

const RUN_DOTS: u64 = 5_000;
/// So many bytes in a datagram: what a local Ethernet takes unsplit.
const DATAGRAM_BYTES: usize = 1432;

pub(crate) fn rows() -> Result<Vec<Row>, Box<dyn Error>> {
    let agent = Arc::new(Agent::start()?);
    let send = |client: &StatsdClient| {
        timed(|| {
            for n in 0..RUN_DOTS {
                assert!(
                    client.gauge("value", black_box(n as f64)).is_ok(),
                    "loopback takes what it is given"
                );
            }
        })
    };
    let socket = || UdpSocket::bind("127.0.0.1:0");

    let client = StatsdClient::from_sink("compare", UdpMetricSink::from(agent.address, socket()?)?);
    let heard = agent.clone();
    let each = Row::new("cadence gauge, a datagram each", "no time; text and a system call", move || {
        black_box(&heard);
        send(&client)
    });
    let sink = BufferedUdpMetricSink::with_capacity(agent.address, socket()?, DATAGRAM_BYTES)?;
    let client = StatsdClient::from_sink("compare", sink);
    let heard = agent.clone();
    let buffered =
        Row::new("cadence gauge, buffered", "no time; text, a system call for some 60", move || {
            black_box(&heard);
            send(&client)
        });
    let sink = BufferedUdpMetricSink::with_capacity(agent.address, socket()?, DATAGRAM_BYTES)?;
    let queue = QueuingMetricSink::from(sink);
    let client = StatsdClient::from_sink("compare", queue.clone());
    let queued = Row::new(
        "cadence gauge, queued and buffered",
        "no time; text and a queue; a thread sends",
        move || {
            black_box(&agent);
            let spent = send(&client);
            while queue.queued() > 0 {
                std::thread::yield_now();
            }
            spent
        },
    );
    Ok([each, buffered, queued].map(|row| row.dots(RUN_DOTS)).into())
}

/// Who listens. Ends with the last row that talks to it.
struct Agent {
    address: SocketAddr,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    fn start() -> Result<Agent, Box<dyn Error>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (address, done) = (socket.local_addr()?, Arc::new(AtomicBool::new(false)));
        let told = done.clone();
        let thread = std::thread::Builder::new().name("agent".into()).spawn(move || {
            let mut datagram = [0; 65_536];
            while !told.load(SeqCst) {
                match socket.recv(&mut datagram) {
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => return,
                }
            }
        })?;
        Ok(Agent { address, done, thread: Some(thread) })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.done.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
