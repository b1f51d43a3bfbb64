//! `/dots`: the dots themselves, and where there are more than columns to draw them in, their envelope.
//!
//! `/dots?series=NAME&series=NAME&from=-5min&until=now&max=1000` answers
//! `{"now", "from", "until", "sequence", "series": [{"name", "gap", "count", "exact", "dots": [[seconds, value],
//! ...]}]}`. `max` is the number of columns; each keeps its first, smallest, largest and last dot. `gap` is the
//! distance in seconds from which on two dots are not neighbours, null where too few tell. The range is
//! half-open at its start, as everywhere in this API: `from < t <= until`. Live events continue after `sequence`.

use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_http::Response;
use dotter_query::{
    Budget, Dot, Error, Source, Window, envelope, gap_after, newest, write_seconds, write_string,
};

use crate::events::write_dots;
use crate::feed::View;
use crate::form::{Form, wrong};

const COLUMNS: u64 = 1_000;
const COLUMNS_MAX: u64 = 8_000;
/// Dots in one answer.
const ANSWER_DOTS_MAX: u64 = 400_000;
/// Dots read for one answer.
const READ_DOTS_MAX: u64 = 20_000_000;
/// Series in one request.
const SERIES_MAX: usize = 500;
/// Dots that the gap is worked out from.
const SAMPLE_DOTS: usize = 512;

/// Some of a series' dots.
pub(crate) struct History {
    pub(crate) dots: Vec<Dot>,
    /// How many there were.
    pub(crate) count: u64,
    pub(crate) exact: bool,
    pub(crate) gap: Option<Duration>,
}

/// The dots of one series in `window`, at most four a column.
pub(crate) fn fetch_envelope(
    source: &dyn Source,
    name: &str,
    window: Window,
    columns: u32,
    budget: &mut Budget,
) -> Result<History, Error> {
    let next = |time: Timestamp| Timestamp::from_nanos(time.nanos().saturating_add(1));
    let range = TimeRange::new(next(window.from), next(window.until));
    let envelope = envelope(source, name, range, columns, budget)?;
    let sample = newest(source, &[name], SAMPLE_DOTS, budget)?.concat();
    let gap = gap_after(&sample);
    Ok(History { count: envelope.count(), exact: envelope.is_exact(), dots: envelope.finish(), gap })
}

/// The answer to `/dots`.
pub(crate) fn answer(view: &View, form: &Form) -> Result<Response, Error> {
    let mut names = Vec::new();
    for text in form.all("series") {
        let name = SeriesName::new(text).map_err(|_| wrong("series", text, "the name of a series"))?;
        names.push(name);
    }
    if names.is_empty() {
        return Err(wrong("series", "", "the name of a series"));
    }
    if names.len() > SERIES_MAX {
        return Err(Error::OverBudget {
            what: "series",
            found: names.len() as u64,
            limit: SERIES_MAX as u64,
        });
    }
    let clock = form.clock()?;
    let window = form.window(&clock)?;
    let asked = form.number("max", COLUMNS_MAX)?.unwrap_or(COLUMNS).max(1);
    let columns = asked.min(ANSWER_DOTS_MAX / 4 / names.len() as u64).max(1) as u32;
    let mut budget = Budget { dots_max: READ_DOTS_MAX, ..Budget::start() };
    let mut out = Vec::new();
    out.extend_from_slice(b"{\"now\": ");
    write_seconds(clock.now, &mut out);
    out.extend_from_slice(b", \"from\": ");
    write_seconds(window.from, &mut out);
    out.extend_from_slice(b", \"until\": ");
    write_seconds(window.until, &mut out);
    out.extend_from_slice(format!(", \"sequence\": {}, \"series\": [", view.sequence).as_bytes());
    let mut first = true;
    for name in &names {
        let history = fetch_envelope(&*view.source, name.as_str(), window, columns, &mut budget)?;
        out.extend_from_slice(if std::mem::take(&mut first) { b"{\"name\": " } else { b", {\"name\": " });
        write_string(name.as_str(), &mut out);
        let gap = history.gap.map_or_else(|| "null".to_owned(), |gap| gap.as_secs_f64().to_string());
        let (count, exact) = (history.count, history.exact);
        let head = format!(", \"gap\": {gap}, \"count\": {count}, \"exact\": {exact}, \"dots\": ");
        out.extend_from_slice(head.as_bytes());
        write_dots(&history.dots, &mut out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(Response::json(200, out))
}
