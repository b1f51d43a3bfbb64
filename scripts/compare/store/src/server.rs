//! Servers that take dots by Prometheus' remote write and answer in JSON.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Failure;
use crate::work::{Batch, Work, prefix};

/// Until it answers, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// A server of our own on a free port. Ends with this.
pub(crate) struct Server {
    child: Child,
    agent: ureq::Agent,
    address: String,
}

impl Server {
    /// - `ready`: what it answers when it is
    pub(crate) fn start(command: impl FnOnce(&str) -> Command, ready: &str) -> Result<Server, Failure> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = command(&address);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE * 10)).build().into();
        let mut server = Server { child, agent, address };
        let until = Instant::now() + PATIENCE;
        while server.get(ready).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{:?} ended: {status}", command.get_program()).into());
            }
            if Instant::now() > until {
                return Err(format!("{:?} does not get ready", command.get_program()).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(server)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn get(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let mut answer = self.agent.get(self.url(path)).call()?;
        Ok(answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?)
    }

    /// - `form`: names and values
    pub(crate) fn ask(&self, path: &str, form: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
        let mut answer = self.agent.post(self.url(path)).send_form(form.iter().copied())?;
        Ok(answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?)
    }

    pub(crate) fn remote_write(&self, path: &str, body: &[u8]) -> Result<(), Failure> {
        let request = self.agent.post(self.url(path)).header("Content-Encoding", "snappy");
        let request = request.header("Content-Type", "application/x-protobuf");
        request.header("X-Prometheus-Remote-Write-Version", "0.1.0").send(body)?;
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends it in good order.
    pub(crate) fn stop(&mut self) -> Result<(), Failure> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT)?;
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                return Err(std::io::Error::from(ErrorKind::TimedOut).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) && self.stop().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The label of a host: what a query for its series names.
pub(crate) fn host(work: &Work, number: u32) -> String {
    let host = prefix(number / work.together);
    if work.ticks == 0 { work.names[number as usize].clone() } else { host[5..host.len() - 1].to_owned() }
}

/// What a query for one series says.
pub(crate) fn selector(work: &Work, number: u32) -> String {
    format!("{}{{host=\"{}\"}}", metric(work, number), host(work, number))
}

fn metric(work: &Work, number: u32) -> String {
    let name = &work.names[number as usize];
    if work.ticks == 0 { "nab".to_owned() } else { name[prefix(number / work.together).len()..].to_owned() }
}

/// Batches as remote write wants them: protobuf in snappy.
///
/// Source: Prometheus' `prompb/remote.proto` and `types.proto`.
pub(crate) struct Encoder {
    /// Of each series, as bytes of the message.
    labels: Vec<Vec<u8>>,
    order: Vec<u32>,
    series: Vec<u8>,
    message: Vec<u8>,
    snappy: snap::raw::Encoder,
}

impl Encoder {
    pub(crate) fn new(work: &Work) -> Encoder {
        let labels = (0..work.names.len() as u32)
            .map(|number| {
                let mut bytes = Vec::new();
                for (name, value) in [("__name__", metric(work, number)), ("host", host(work, number))] {
                    let mut label = Vec::new();
                    put_bytes(1, name.as_bytes(), &mut label);
                    put_bytes(2, value.as_bytes(), &mut label);
                    put_bytes(1, &label, &mut bytes);
                }
                bytes
            })
            .collect();
        let (order, series, message) = (Vec::new(), Vec::new(), Vec::new());
        Encoder { labels, order, series, message, snappy: snap::raw::Encoder::new() }
    }

    pub(crate) fn encode(&mut self, batch: &Batch) -> Result<Vec<u8>, Failure> {
        self.order.clear();
        self.order.extend(0..batch.len() as u32);
        self.order.sort_by_key(|at| batch.series[*at as usize]);
        self.message.clear();
        for dots in self.order.chunk_by(|a, b| batch.series[*a as usize] == batch.series[*b as usize]) {
            self.series.clear();
            self.series.extend_from_slice(&self.labels[batch.series[dots[0] as usize] as usize]);
            for at in dots {
                let mut sample = [0; 20];
                sample[0] = 1 << 3 | 1;
                sample[1..9].copy_from_slice(&batch.values[*at as usize].to_le_bytes());
                sample[9] = 2 << 3;
                let end = 10 + varint(batch.times[*at as usize] / 1_000_000, &mut sample[10..]);
                put_bytes(2, &sample[..end], &mut self.series);
            }
            put_bytes(1, &self.series, &mut self.message);
        }
        Ok(self.snappy.compress_vec(&self.message)?)
    }
}

fn put_bytes(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    let mut length = [0; 10];
    let count = varint(bytes.len() as u64, &mut length);
    out.push(field << 3 | 2);
    out.extend_from_slice(&length[..count]);
    out.extend_from_slice(bytes);
}

/// Returns how many bytes it takes.
fn varint(mut value: u64, out: &mut [u8]) -> usize {
    let mut count = 0;
    while value >= 0x80 {
        out[count] = value as u8 | 0x80;
        value >>= 7;
        count += 1;
    }
    out[count] = value as u8;
    count + 1
}
