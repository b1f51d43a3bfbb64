//! A collector in memory, behind a real socket: it keeps the rules of the wire to the letter, checks that the broker
//! does, and does what a bad server does when told to.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dotter_dot::{Incarnation, Reason};
use dotter_wire::{Answer, CONTENT_TYPE, LaneBatch, Message};

/// What to do instead of a plain answer, with the next post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// A page of HTML with status 200.
    Html,
    /// A redirect to an address that says 200 to a GET.
    Redirect,
    /// A body that is no JSON object, or lacks things.
    HalfAnswer,
    /// 204.
    NoContent,
    /// Headers without end.
    EndlessHeaders,
    /// A body without end.
    EndlessBody,
    /// A right answer, but about another ring.
    OtherRing,
    /// A right answer that lacks the lanes.
    NoLanes,
    /// Content-Length promises more than comes.
    ShortBody,
    /// A status and a Retry-After.
    Status(u16, u64),
    /// Closed before anything is read.
    Reset,
    /// Stored, then closed without an answer.
    AckLost,
    /// 200 for what was not taken: each lane is wanted from a record below those it has.
    Behind,
    /// 200 for what was not taken: each lane is wanted from a record that no ring has.
    Ahead,
    /// The same with records refused that no ring has.
    RefusedAhead,
    /// Stored, then answered with records refused of a lane that was not posted.
    RefusedElsewhere,
    /// Another store's answer, which has taken nothing.
    OtherStore,
}

/// A dot as it was stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) record: u64,
    pub(crate) name: Vec<u8>,
    pub(crate) format: String,
    pub(crate) time: u64,
    /// The nearest f64 of a number; NaN of a text or a row.
    pub(crate) value: f64,
    /// The word of a number.
    pub(crate) word: u64,
    /// The row bytes of a text or a row.
    pub(crate) row: Vec<u8>,
    pub(crate) clock: bool,
}

/// What one lane of one ring has become.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneAccount {
    pub(crate) next: u64,
    pub(crate) dots: Vec<Stored>,
    /// first, next, reason
    pub(crate) losses: Vec<(u64, u64, Reason)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) application: String,
    pub(crate) lanes: BTreeMap<u32, LaneAccount>,
    pub(crate) refusals: Vec<(Reason, u64)>,
    pub(crate) finished: u32,
    pub(crate) questions: u32,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) store: String,
    /// Of a ring that has finished it says only so, whatever comes.
    pub(crate) keeps_no_accounts: bool,
    pub(crate) rings: BTreeMap<Incarnation, Account>,
    pub(crate) tricks: VecDeque<Trick>,
    /// The same for posts of a finish alone.
    pub(crate) finish_tricks: VecDeque<Trick>,
    /// The same for posts of a batch alone.
    pub(crate) batch_tricks: VecDeque<Trick>,
    /// Batches larger than this get a 413.
    pub(crate) dots_max: Option<usize>,
    /// Bodies longer than this get a 413.
    pub(crate) bytes_max: Option<usize>,
    /// Dots of each batch, in the order they came.
    pub(crate) batch_dots: Vec<usize>,
    pub(crate) posts: u64,
    /// For each post, how many were under way when it came, itself included.
    pub(crate) at_once: Vec<usize>,
    under_way: usize,
    /// How long each answer takes.
    pub(crate) delay: Duration,
    pub(crate) gets: u64,
    pub(crate) conflicts: u64,
    /// Bytes written to clients.
    pub(crate) poured: u64,
    /// Rules the broker broke.
    pub(crate) complaints: Vec<String>,
}

pub(crate) struct Collector {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
    listening: JoinHandle<()>,
}

impl Collector {
    pub(crate) fn start() -> Collector {
        let state = State { store: "00000000-0000-4000-8000-000000000001".into(), ..State::default() };
        Collector::listen("127.0.0.1:0".parse().unwrap(), Arc::new(Mutex::new(state)))
    }

    fn listen(addr: SocketAddr, state: Arc<Mutex<State>>) -> Collector {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::<Mutex<Vec<TcpStream>>>::default();
        let stop = Arc::<std::sync::atomic::AtomicBool>::default();
        let (state_of, connections_of, stop_of) = (state.clone(), connections.clone(), stop.clone());
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop_of.load(std::sync::atomic::Ordering::SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                connections_of.lock().unwrap().push(stream.try_clone().unwrap());
                let state = state_of.clone();
                std::thread::spawn(move || {
                    let _ = serve(&stream, &state);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Collector { addr, state, connections, stop, listening }
    }

    /// Stops listening and cuts all connections; what it has stored stays.
    pub(crate) fn go_away(self) -> Away {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        self.listening.join().unwrap();
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        Away { addr: self.addr, state: self.state.clone() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/data", self.addr)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trick(&self, tricks: &[Trick]) {
        self.state().tricks.extend(tricks);
    }

    /// Dots stored over all rings and lanes.
    pub(crate) fn stored(&self) -> u64 {
        self.state()
            .rings
            .values()
            .flat_map(|ring| ring.lanes.values())
            .map(|lane| lane.dots.len() as u64)
            .sum()
    }

    /// The only ring there is.
    #[track_caller]
    pub(crate) fn only_ring(&self) -> Account {
        let state = self.state();
        assert_eq!(state.rings.len(), 1, "one ring");
        state.rings.values().next().unwrap().clone()
    }
}

pub(crate) struct Away {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Away {
    pub(crate) fn come_back(self) -> Collector {
        Collector::listen(self.addr, self.state)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/data", self.addr)
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let (mut length, mut content_type) = (0_usize, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "content-type" => content_type = value.trim().to_owned(),
                _ => {}
            }
        }
        if request.starts_with("GET ") {
            state.lock().unwrap().gets += 1;
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")?;
            continue;
        }
        let (mut trick, delay) = {
            let mut state = state.lock().unwrap();
            state.posts += 1;
            (state.tricks.pop_front(), state.delay)
        };
        let under_way = UnderWay::begin(state);
        std::thread::sleep(delay);
        if trick == Some(Trick::Reset) {
            return Ok(());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let message = Message::decode(&body);
        let (status, answer) = {
            let mut state = state.lock().unwrap();
            if !request.starts_with("POST /data HTTP/1.1") || content_type != CONTENT_TYPE {
                state.complaints.push(format!("request {request:?} of type {content_type}"));
            }
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    state.complaints.push(format!("undecodable: {error}"));
                    return Ok(());
                }
            };
            let too_many = match &message {
                Message::Batch(batch) => state.dots_max.is_some_and(|most| batch.dots_len() > most),
                _ => false,
            };
            if too_many || state.bytes_max.is_some_and(|most| body.len() > most) {
                trick = Some(Trick::Status(413, 0));
            }
            trick = trick.or_else(|| match message {
                Message::Question(_) => None,
                Message::Batch(_) => state.batch_tricks.pop_front(),
                Message::Finish(_) => state.finish_tricks.pop_front(),
            });
            match trick {
                None | Some(Trick::AckLost | Trick::RefusedElsewhere) => state.take(message),
                Some(_) => (200, state.answer(message.sender().incarnation, None)),
            }
        };
        // Before the answer goes: whatever it brings about comes after this post.
        drop(under_way);
        let json = answer.to_json();
        let plain = |status: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let text = match trick {
            None if status == 200 => plain("200 OK", &json),
            None => plain("409 Conflict", &json),
            Some(Trick::Html) => plain("200 OK", "<!doctype html><title>Sign in</title>"),
            Some(Trick::HalfAnswer) => plain("200 OK", "{\"store\": \"x\", \"durable\": true}"),
            Some(Trick::NoContent) => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            Some(Trick::Redirect) => {
                "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned()
            }
            Some(Trick::OtherRing) => {
                let answer = Answer { incarnation: Incarnation([9; 16]), ..answer };
                plain("200 OK", &answer.to_json())
            }
            Some(Trick::NoLanes) => plain("200 OK", &Answer { lanes: vec![], ..answer }.to_json()),
            Some(Trick::Behind) => {
                let lanes = answer.lanes.iter().map(|(lane, next)| (*lane, next.saturating_sub(1))).collect();
                plain("200 OK", &Answer { lanes, ..answer }.to_json())
            }
            Some(Trick::Ahead) => {
                let lanes = answer.lanes.iter().map(|(lane, _)| (*lane, u64::MAX - 5)).collect();
                plain("200 OK", &Answer { lanes, ..answer }.to_json())
            }
            Some(Trick::RefusedAhead) => {
                let refused = vec![(0, 0, u64::MAX, Reason::NAME); 2];
                plain("200 OK", &Answer { refused, ..answer }.to_json())
            }
            Some(Trick::RefusedElsewhere) => {
                let refused = vec![(9, 0, 1_000_000, Reason::NAME)];
                plain("200 OK", &Answer { refused, ..answer }.to_json())
            }
            Some(Trick::OtherStore) => {
                let store = "00000000-0000-4000-8000-000000000009".into();
                plain("200 OK", &Answer { store, ..answer }.to_json())
            }
            Some(Trick::ShortBody) => {
                let long = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{json}", json.len() + 100);
                writer.write_all(long.as_bytes())?;
                return Ok(());
            }
            Some(Trick::Status(status, retry_after)) => {
                format!("HTTP/1.1 {status} No\r\nRetry-After: {retry_after}\r\nContent-Length: 2\r\n\r\nno")
            }
            Some(Trick::EndlessHeaders) => {
                writer.write_all(b"HTTP/1.1 200 OK\r\n")?;
                return pour(writer, state, b"X-More: and more and more and more\r\n");
            }
            Some(Trick::EndlessBody) => {
                writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")?;
                return pour(writer, state, &[b' '; 4096]);
            }
            Some(Trick::Reset | Trick::AckLost) => return Ok(()),
        };
        writer.write_all(text.as_bytes())?;
    }
}

/// A post that has come and is not answered yet.
struct UnderWay<'a>(&'a Mutex<State>);

impl UnderWay<'_> {
    fn begin(state: &Mutex<State>) -> UnderWay<'_> {
        let mut counts = state.lock().unwrap();
        counts.under_way += 1;
        let under_way = counts.under_way;
        counts.at_once.push(under_way);
        UnderWay(state)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).under_way -= 1;
    }
}

/// Writes until the client has had enough.
fn pour(mut writer: &TcpStream, state: &Mutex<State>, what: &[u8]) -> io::Result<()> {
    loop {
        writer.write_all(what)?;
        state.lock().unwrap().poured += what.len() as u64;
    }
}

impl State {
    /// The answer about a ring: for `lanes`, or for every lane known.
    fn answer(&self, incarnation: Incarnation, lanes: Option<&[u32]>) -> Answer {
        let known = self.rings.get(&incarnation);
        let next = |lane: u32| known.and_then(|ring| ring.lanes.get(&lane)).map_or(0, |lane| lane.next);
        let lanes = match lanes {
            Some(lanes) => lanes.iter().map(|lane| (*lane, next(*lane))).collect(),
            None => known
                .iter()
                .flat_map(|ring| &ring.lanes)
                .map(|(lane, account)| (*lane, account.next))
                .collect(),
        };
        Answer { store: self.store.clone(), durable: true, incarnation, lanes, ..Answer::default() }
    }

    fn take(&mut self, message: Message) -> (u16, Answer) {
        let incarnation = message.sender().incarnation;
        if !matches!(message, Message::Question(_)) && !self.rings.contains_key(&incarnation) {
            self.complaints.push(format!("{incarnation}: something came before a question"));
        }
        let ring = self.rings.entry(incarnation).or_default();
        if self.keeps_no_accounts && ring.finished > 0 {
            ring.questions += matches!(message, Message::Question(_)) as u32;
            let answer = Answer { finished: true, ..self.answer(incarnation, Some(&[])) };
            return (200, answer);
        }
        ring.application.clone_from(&message.sender().application);
        match message {
            Message::Question(_) => {
                ring.questions += 1;
                (200, self.answer(incarnation, None))
            }
            Message::Batch(batch) => {
                let lanes: Vec<u32> = batch.lanes.iter().map(|lane| lane.lane).collect();
                let above =
                    |lane: &LaneBatch| lane.first > ring.lanes.get(&lane.lane).map_or(0, |lane| lane.next);
                if batch.lanes.iter().any(above) {
                    self.conflicts += 1;
                    return (409, self.answer(incarnation, Some(&lanes)));
                }
                self.batch_dots.push(batch.dots_len());
                ring.refusals = batch.refusals.0;
                for lane in batch.lanes {
                    ring.lanes.entry(lane.lane).or_default().take(lane, &batch.series);
                }
                (200, self.answer(incarnation, Some(&lanes)))
            }
            Message::Finish(finish) => {
                let lanes: Vec<u32> = finish.lanes.iter().map(|(lane, _)| *lane).collect();
                let above =
                    |(lane, next): &(u32, u64)| *next > ring.lanes.get(lane).map_or(0, |lane| lane.next);
                if finish.lanes.iter().any(above) {
                    self.conflicts += 1;
                    return (409, self.answer(incarnation, Some(&lanes)));
                }
                ring.refusals = finish.refusals.0;
                ring.finished += 1;
                (200, self.answer(incarnation, Some(&lanes)))
            }
        }
    }
}

fn number(format: &str, word: u64) -> f64 {
    match format {
        "F" => f64::from_bits(word),
        "f" => f32::from_bits(word as u32).into(),
        "I" | "i" => word as i64 as f64,
        "U" | "u" => word as f64,
        _ => f64::NAN,
    }
}

impl LaneAccount {
    fn take(&mut self, mut batch: LaneBatch, series: &[dotter_wire::SeriesEntry]) {
        batch.trim_below(self.next);
        let mut clocks = batch.runs.iter().flat_map(|run| std::iter::repeat_n(run.clock, run.dots as usize));
        let mut losses = batch.losses.iter().peekable();
        let mut record = batch.first;
        for index in 0..batch.dots_len() {
            while let Some(loss) = losses.next_if(|loss| loss.first <= record) {
                record = loss.next;
            }
            let (series, word) = (&series[batch.series[index] as usize], batch.words[index]);
            let row = if series.is_word() { Vec::new() } else { batch.rows.get(word).to_vec() };
            self.dots.push(Stored {
                record,
                name: series.name.clone(),
                format: series.format.clone(),
                time: batch.times[index],
                value: number(&series.format, word),
                word,
                row,
                clock: clocks.next().unwrap(),
            });
            record += 1;
        }
        self.losses.extend(batch.losses.iter().map(|loss| (loss.first, loss.next, loss.reason)));
        self.next = batch.next.max(self.next);
    }

    pub(crate) fn lost(&self) -> u64 {
        self.losses.iter().map(|(first, next, _)| next - first).sum()
    }
}

impl Account {
    /// Every record of `lane` below `published` is there once, as the dot `value` says or inside a loss; returns how
    /// many are lost.
    #[track_caller]
    pub(crate) fn check_lane(&self, lane: u32, published: u64, value: impl Fn(u64) -> f64) -> u64 {
        let account = self.lanes.get(&lane).cloned().unwrap_or_default();
        assert_eq!(account.next, published, "watermark of lane {lane}");
        let mut pieces: Vec<_> = account.losses.iter().map(|(first, next, _)| (*first, *next)).collect();
        pieces.extend(account.dots.iter().map(|dot| (dot.record, dot.record + 1)));
        pieces.sort();
        let mut expected = 0;
        for (first, next) in pieces {
            assert_eq!(first, expected, "lane {lane}: a record missing or there twice");
            expected = next;
        }
        assert_eq!(expected, published, "lane {lane}: all records accounted for");
        for dot in &account.dots {
            assert_eq!(dot.value, value(dot.record), "lane {lane}: value of record {}", dot.record);
        }
        account.lost()
    }
}
