//! What the front door answers: `/data` in both directions, rows as text, health and metrics.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dotter_daemon::{Exposition, Log, chain};
use dotter_dot::{NamedDots, SeriesName};
use dotter_http::{LiveCounters, Method, Request, Response};
use dotter_intake::json;
use dotter_store::{ClaimName, Dot};
use dotter_wire::{CONTENT_TYPE, Message};

use crate::history::{self, History, Newest};
use crate::ingest::{NotNow, Outcome, Places, Queue, Work};
use crate::metrics::Metrics;
use crate::{batch, parameters};

pub(crate) const PAGES: &str =
    "no such page or series; there are PUT /, /store/KEY, /data, /metrics, /-/healthy and /-/ready\n";

/// Whoever starts and watches the collector asks here, without the token.
pub(crate) const HEALTH_PATHS: [&str; 2] = ["/-/healthy", "/-/ready"];

/// `dotter-store delete --purge` asks for it here.
const CLOSE_FILE_PATH: &str = "/-/close-file";

/// Dots that a read gives out where nothing was said of how many, and at most.
const LAST: usize = 500;
const DOTS_MAX: usize = 200_000;
/// Says that older dots were left out.
const CUT_HEADER: &str = "X-Dotter-Cut";
/// A larger body of JSON or rows is one of few at once: in memory its dots take several times its bytes.
const LARGE_BYTES: usize = 256 << 10;
/// That many.
pub(crate) const LARGE_AT_ONCE: usize = 2;

/// Everything the handlers share.
pub(crate) struct Site {
    pub(crate) dir: PathBuf,
    pub(crate) queue: Queue,
    pub(crate) history: Arc<History>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) door: LiveCounters,
    pub(crate) log: Log,
    /// Large bodies, and deletions.
    pub(crate) large: Places,
    /// Requests that read.
    pub(crate) reads: Places,
    /// Answers that are made as they are sent.
    pub(crate) answers: Places,
}

impl Site {
    /// Answers one request.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        let reads = matches!(request.method, Method::Get | Method::Head);
        match request.path.as_str() {
            "/data" if request.method == Method::Post => self.post(request),
            "/data" if reads => self.read_in_turn(|| self.read(request)),
            "/data" => only("GET, HEAD, POST"),
            CLOSE_FILE_PATH if request.method == Method::Post => self.close_file(request),
            CLOSE_FILE_PATH => only("POST"),
            "/-/healthy" | "/-/ready" | "/metrics" if !reads => only("GET, HEAD"),
            path @ ("/-/healthy" | "/-/ready" | "/metrics") => match parameters::check(&request.query, &[]) {
                Ok(()) => self.state(path),
                Err(text) => wrong(&text),
            },
            // Under any name: `curl -T FILE` puts the file's behind the slash.
            path if request.method == Method::Put && !path.starts_with("/store/") => self.put_rows(request),
            "/" => Response::text(404, PAGES),
            path => match (path.strip_prefix("/store/"), request.method) {
                (Some(key), _) if reads => self.read_in_turn(|| self.rows(key, request)),
                (Some(key), Method::Delete) => self.delete_rows(key, request),
                (Some(_), _) => only("GET, HEAD, DELETE"),
                // The word is free where it is no page.
                (None, _) if reads => self.read_in_turn(|| self.rows_if_any(&path[1..], request)),
                (None, _) => Response::text(404, PAGES),
            },
        }
    }

    /// Reads, where few enough others do: a read may take long, and every thread it takes is one less for posts and for
    /// questions after health.
    fn read_in_turn(&self, read: impl FnOnce() -> Response) -> Response {
        match self.reads.try_take() {
            Some(_place) => read(),
            None => self.put_off(),
        }
    }

    /// The answer to a read that is one too many.
    pub(crate) fn put_off(&self) -> Response {
        self.metrics.reads_put_off.fetch_add(1, Relaxed);
        not_now(&NotNow::Reads)
    }

    /// A page about the collector itself.
    fn state(&self, path: &str) -> Response {
        match path {
            "/-/healthy" => match (self.metrics.health(), self.metrics.short()) {
                // A restart would make no room.
                (Ok(()), Some(short)) => Response::text(200, format!("ok\nwarning: {short}\n")),
                (health, _) => state(health),
            },
            "/-/ready" => state(self.metrics.ready()),
            _ => {
                let text = self.metrics.text(self.queue.len(), &self.door.snapshot());
                Response::new(200, Exposition::CONTENT_TYPE, text)
            }
        }
    }

    /// The log goes on in a new file, so that whoever asks can seal what is there.
    fn close_file(&self, request: &Request) -> Response {
        if let Err(text) = parameters::check(&request.query, &[]) {
            return wrong(&text);
        }
        match self.queue.post(Work::CloseFile) {
            Outcome::Closed => Response::text(200, "closed\n"),
            Outcome::NotNow(why) => not_now(&why),
            other => unreachable!("a file is closed or not: {other:?}"),
        }
    }

    fn post(&self, request: &Request) -> Response {
        if request.content_type() == Some(CONTENT_TYPE) {
            self.post_batch(request)
        } else {
            self.post_json(request)
        }
    }

    fn post_batch(&self, request: &Request) -> Response {
        // A batch names its series itself.
        if let Err(text) = parameters::check(&request.query, &[]) {
            return wrong(&text);
        }
        let message = match Message::decode(&request.body) {
            Ok(message) => message,
            Err(error) => {
                let text = chain(&error);
                self.log.warn("batch", &format!("a message from {} was refused: {text}", request.peer));
                return wrong(&text);
            }
        };
        if let Err(text) = batch::check(&message) {
            return wrong(&text);
        }
        let names = batch::names(&message);
        match self.queue.post(Work::Message(message, names)) {
            Outcome::Ack(answer) => Response::json(200, answer.to_json()),
            Outcome::Conflict(answer) => Response::json(409, answer.to_json()),
            Outcome::NotNow(why) => not_now(&why),
            other @ (Outcome::Stored(_)
            | Outcome::Closed
            | Outcome::TooBig(_)
            | Outcome::SeriesLimit(_)
            | Outcome::Dropped) => {
                unreachable!("a message is acknowledged or in conflict: {other:?}")
            }
        }
    }

    fn post_json(&self, request: &Request) -> Response {
        let named = parameters::check(&request.query, &["series"]).and_then(|()| read_series(request));
        match named {
            Ok(series) => self.take_body(request, |body| json::read(body, series.as_ref()), None, 200),
            Err(text) => wrong(&text),
        }
    }

    /// Keeps what `read` finds in a body, all of it or nothing.
    ///
    /// - `claim`: of a sender that goes another way where nobody takes it
    /// - `status`: of the answer, once it is durable
    pub(crate) fn take_body(
        &self,
        request: &Request,
        read: impl FnOnce(&[u8]) -> Result<NamedDots, String>,
        claim: Option<ClaimName>,
        status: u16,
    ) -> Response {
        let _place = if request.body.len() > LARGE_BYTES {
            let Some(place) = self.large.take() else { return not_now(&NotNow::QueueFull) };
            Some(place)
        } else {
            None
        };
        let rows = match read(&request.body) {
            Ok(rows) => rows,
            Err(text) => return wrong(&text),
        };
        match self.queue.post(Work::Rows(rows, claim)) {
            Outcome::Stored(count) => stored(status, count),
            // More than a frame of the log holds; a segment takes any number.
            Outcome::TooBig(rows) => {
                let count = rows.len() as u64;
                match dotter_store::add(&self.dir, *rows) {
                    Ok(_) => {
                        self.metrics.dots.fetch_add(count, Relaxed);
                        stored(status, count)
                    }
                    Err(error) => {
                        self.log.warn(
                            "add",
                            &format!("a body of {count} dots was not stored: {}", chain(&error)),
                        );
                        match (claim, &error) {
                            // The sender is told, whose claim is taken: it may go another way.
                            (Some(_), error) if !matches!(error, dotter_store::Error::Unknown(_)) => {
                                Response::text(410, format!("nothing stored: {}\n", chain(error)))
                            }
                            _ => not_now(&NotNow::of(&error)),
                        }
                    }
                }
            }
            Outcome::SeriesLimit(most) => Response::text(
                422,
                format!("nothing stored: more new series than the {most} that --max-series allows\n"),
            ),
            Outcome::Dropped => Response::text(
                410,
                "nothing stored: the claim is gone, so the sender has gone another way or has ended\n",
            ),
            Outcome::NotNow(why) => not_now(&why),
            other @ (Outcome::Ack(_) | Outcome::Conflict(_) | Outcome::Closed) => {
                unreachable!("rows are stored or not: {other:?}")
            }
        }
    }

    fn read(&self, request: &Request) -> Response {
        let asked = || -> Result<_, String> {
            let query = &request.query;
            parameters::check(query, &["series", "last", "from", "until"])?;
            let series = read_series(request)?.ok_or("found no parameter 'series', expected one")?;
            let (from, until) = (query.get("from"), query.get("until"));
            let count = match query.get("last") {
                None if from.or(until).is_some() => None,
                None => Some(LAST),
                Some(text) => Some(
                    text.parse()
                        .ok()
                        .filter(|count| (1..=DOTS_MAX).contains(count))
                        .ok_or_else(|| format!("last '{text}' is no number from 1 to {DOTS_MAX}"))?,
                ),
            };
            Ok((series, history::read_range(from, until)?, count))
        };
        let (series, range, count) = match asked() {
            Ok(asked) => asked,
            Err(text) => return wrong(&text),
        };
        let found = match count {
            Some(count) => self.history.newest(series.as_str(), range, count).map(newest),
            None => self.history.all(series.as_str(), range, DOTS_MAX).map(all),
        };
        match found {
            Ok(response) => response,
            Err(error) => {
                let text = chain(&error);
                self.log.warn("read", &format!("series {series} could not be read: {text}"));
                Response::text(503, format!("{text}\n")).header("Retry-After", "1")
            }
        }
    }
}

fn newest(Newest { dots, older }: Newest) -> Response {
    let response = Response::json(200, history::to_json(&dots));
    match older {
        0 => response,
        _ => {
            let text = format!(
                "the newest {} dots, about {older} older ones are left out; see from, until and last",
                dots.len()
            );
            response.header(CUT_HEADER, &text)
        }
    }
}

fn all(found: Result<Vec<Dot>, u64>) -> Response {
    match found {
        Ok(dots) => Response::json(200, history::to_json(&dots)),
        Err(count) => Response::text(
            413,
            format!(
                "found about {count} dots from 'from' until 'until', expected at most {DOTS_MAX}; ask for a shorter \
                 range, for the newest of it with last={DOTS_MAX}, or for all as lines at /store/KEY\n"
            ),
        ),
    }
}

/// The series that the query names, if it names one.
fn read_series(request: &Request) -> Result<Option<SeriesName>, String> {
    request.query.get("series").map(SeriesName::new).transpose().map_err(|error| error.to_string())
}

fn stored(status: u16, count: u64) -> Response {
    Response::json(status, format!("{{\"stored\":{count},\"durable\":true}}"))
}

pub(crate) fn wrong(text: &str) -> Response {
    Response::text(400, format!("{text}\n"))
}

fn only(methods: &str) -> Response {
    Response::text(405, format!("expected {methods}\n")).header("Allow", methods)
}

fn state(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => Response::text(200, "ok\n"),
        Err(text) => Response::text(503, format!("{text}\n")).header("Retry-After", "1"),
    }
}

pub(crate) fn not_now(why: &NotNow) -> Response {
    let (status, seconds) = match why {
        NotNow::QueueFull | NotNow::Reads => (429, "1"),
        // Sealing takes a fraction of a second; who posts has a pause of its own.
        NotNow::Unsealed => (429, "0"),
        NotNow::DiskFull(_) | NotNow::Reserve(_) => (507, "1"),
        NotNow::Stopping | NotNow::Slow | NotNow::Failed(_) | NotNow::Claim(_) => (503, "1"),
    };
    Response::text(status, format!("{why}\n")).header("Retry-After", seconds)
}
