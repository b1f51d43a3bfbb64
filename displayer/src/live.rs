//! The live stream: what was committed goes to every viewer who follows it, a few times a second.
//!
//! Events: `hello` first, then `dots` (`{"series": [[seconds, value], ...], ...}`), `series` (new ones), `loss`
//! (a loss was counted), `gap` (something was missed: `from` when on to ask again) and now and then `mark`,
//! which only carries an id. The id is the position in the store's log; a viewer who comes back with it, as
//! `Last-Event-ID` or as `after=`, continues there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_http::EventSender;
use dotter_query::{Dot, Envelope, Pattern, write_number, write_seconds, write_string};

use crate::feed::{LossNews, News};
use crate::recent::{Recent, Resume};

/// A viewer is sent nothing more often than this.
pub(crate) const EVENT_INTERVAL: Duration = Duration::from_millis(50);
/// A viewer whose series are quiet learns the position this often.
const MARK_INTERVAL: Duration = Duration::from_secs(5);
/// What waits for a slow viewer before its oldest is dropped, in bytes.
pub(crate) const QUEUE_BYTES_MAX: usize = 2 << 20;
/// Names in one `series` event.
const NAMES_MAX: usize = 100;
/// Losses in one flush; they are counted in the ledger, whatever is told here.
const LOSSES_MAX: usize = 1_000;

/// What a viewer follows.
#[derive(Clone, Debug)]
pub(crate) enum Interest {
    /// These series.
    Names(HashSet<SeriesName>),
    /// Whatever matches one of these.
    Patterns(Vec<Pattern>),
}

impl Interest {
    fn includes(&self, name: &SeriesName) -> bool {
        match self {
            Interest::Names(names) => names.contains(name),
            Interest::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(name.as_str())),
        }
    }
}

/// One request for the stream.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) interest: Interest,
    /// Dots of one series in one event; beyond, an envelope of them.
    pub(crate) dots_max: Option<usize>,
    /// Continue after this position.
    pub(crate) after: Option<u64>,
}

/// The way to one viewer: a stream of the door, or in tests a list.
pub(crate) trait Way {
    /// Queues an event; never blocks.
    fn send(&self, id: Option<&str>, event: &str, data: &str);

    /// Whether the viewer is gone.
    fn is_closed(&self) -> bool;
}

impl Way for EventSender {
    fn send(&self, id: Option<&str>, event: &str, data: &str) {
        // That the viewer is gone is seen at the next flush.
        let _ = EventSender::send(self, id, Some(event), data);
    }

    fn is_closed(&self) -> bool {
        EventSender::is_closed(self)
    }
}

/// All viewers, and what they are about to be sent.
pub(crate) struct Live<W = EventSender> {
    viewers: Vec<Viewer<W>>,
    recent: Recent,
    /// Commits not sent yet.
    pending: Vec<Arc<News>>,
    new_names: Vec<SeriesName>,
    losses: Vec<LossNews>,
    series_count: usize,
    has_store: bool,
    flushed: Option<Instant>,
    /// Events queued since the start.
    events: u64,
}

struct Viewer<W> {
    way: W,
    interest: Interest,
    dots_max: Option<usize>,
    /// The last position it was told, and when.
    told: u64,
    told_at: Instant,
}

/// Dots by series, in the order the series first appear.
type BySeries<'a> = Vec<(&'a SeriesName, Vec<Dot>)>;

impl<W> Default for Live<W> {
    fn default() -> Live<W> {
        Live {
            viewers: Vec::new(),
            recent: Recent::default(),
            pending: Vec::new(),
            new_names: Vec::new(),
            losses: Vec::new(),
            series_count: 0,
            has_store: false,
            flushed: None,
            events: 0,
        }
    }
}

impl<W: Way> Live<W> {
    /// A store was opened, or took another's place, at this position.
    pub(crate) fn restart(&mut self, sequence: u64, series_count: usize) {
        self.pending.clear();
        self.recent.restart(sequence);
        self.series_count = series_count;
        let first = !std::mem::replace(&mut self.has_store, true);
        for viewer in &mut self.viewers {
            viewer.told = sequence;
            viewer.send("hello", &hello(true, sequence, series_count));
            if !first {
                viewer.send("gap", "{\"from\": null}");
            }
        }
        self.new_names.clear();
        if first {
            // Whoever waits for a first series looks again.
            let text = series_event(&[], series_count);
            self.viewers.iter().for_each(|viewer| viewer.send("series", &text));
        }
    }

    /// Takes in commits and the names that were new in them.
    pub(crate) fn add(&mut self, news: Vec<News>, new_names: Vec<SeriesName>, series_count: usize) {
        self.series_count = series_count;
        for news in news {
            let room = LOSSES_MAX.saturating_sub(self.losses.len());
            self.losses.extend(news.losses.iter().take(room).cloned());
            let news = Arc::new(news);
            self.recent.add(news.clone());
            self.pending.push(news);
        }
        self.new_names.extend(new_names);
    }

    /// Sends what has come in, where it is time to.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.flushed.is_some_and(|flushed| now.saturating_duration_since(flushed) < EVENT_INTERVAL) {
            return;
        }
        self.viewers.retain(|viewer| !viewer.way.is_closed());
        let pending = std::mem::take(&mut self.pending);
        let new_names = std::mem::take(&mut self.new_names);
        let losses = std::mem::take(&mut self.losses);
        let last = self.recent.last();
        if !(pending.is_empty() && new_names.is_empty() && losses.is_empty()) {
            self.flushed = Some(now);
        }
        if self.viewers.is_empty() {
            return;
        }
        let grouped =
            group(&pending, |name| self.viewers.iter().any(|viewer| viewer.interest.includes(name)));
        // Many viewers follow the same series: each is written once for all who take as many dots.
        let mut written: HashMap<(usize, Option<usize>), Arc<Vec<u8>>> = HashMap::new();
        let series = (!new_names.is_empty()).then(|| series_event(&new_names, self.series_count));
        for viewer in &mut self.viewers {
            let parts: Vec<Arc<Vec<u8>>> = grouped
                .iter()
                .enumerate()
                .filter(|(_, (name, _))| viewer.interest.includes(name))
                .map(|(index, (name, dots))| {
                    let write = || Arc::new(write_series(name, dots, viewer.dots_max));
                    written.entry((index, viewer.dots_max)).or_insert_with(write).clone()
                })
                .collect();
            if !parts.is_empty() {
                viewer.tell(last, "dots", &object(&parts), now);
                self.events += 1;
            } else if last > viewer.told && now.saturating_duration_since(viewer.told_at) >= MARK_INTERVAL {
                viewer.tell(last, "mark", "{}", now);
            }
            if let Some(series) = &series {
                viewer.send("series", series);
            }
            losses.iter().for_each(|loss| viewer.send("loss", &loss_event(loss)));
        }
    }

    /// Begins a stream for a viewer.
    pub(crate) fn join(&mut self, ask: Ask, way: W, now: Instant) {
        let last = self.recent.last();
        let told = ask.after.unwrap_or(last);
        let mut viewer = Viewer { way, interest: ask.interest, dots_max: ask.dots_max, told, told_at: now };
        viewer.send("hello", &hello(self.has_store, last, self.series_count));
        // What is pending will be sent at the next flush; it is not to be sent twice.
        let unsent = self.pending.first().map_or(u64::MAX, |news| news.sequence);
        match ask.after.filter(|_| self.has_store).map(|after| self.recent.since(after)) {
            None => {}
            Some(Resume::Gone(earliest)) => {
                viewer.tell(last.min(unsent.saturating_sub(1)), "gap", &gap_event(earliest), now);
            }
            Some(Resume::Kept(news)) => {
                for news in news.iter().filter(|news| news.sequence < unsent) {
                    let one = [news.clone()];
                    let parts: Vec<_> = group(&one, |name| viewer.interest.includes(name))
                        .iter()
                        .map(|(name, dots)| Arc::new(write_series(name, dots, viewer.dots_max)))
                        .collect();
                    if !parts.is_empty() {
                        viewer.tell(news.sequence, "dots", &object(&parts), now);
                    }
                }
            }
        }
        self.viewers.push(viewer);
    }

    /// How many viewers there are.
    pub(crate) fn viewers(&self) -> usize {
        self.viewers.len()
    }

    /// Events of dots queued since the start.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }
}

impl<W: Way> Viewer<W> {
    fn send(&self, event: &str, data: &str) {
        self.way.send(None, event, data);
    }

    fn tell(&mut self, sequence: u64, event: &str, data: &str, now: Instant) {
        self.way.send(Some(&sequence.to_string()), event, data);
        self.told = sequence;
        self.told_at = now;
    }
}

/// Dots of the wanted series, commit order within each.
fn group<'a>(news: &'a [Arc<News>], mut wanted: impl FnMut(&SeriesName) -> bool) -> BySeries<'a> {
    let mut places: HashMap<&SeriesName, Option<usize>> = HashMap::new();
    let mut grouped: BySeries<'_> = Vec::new();
    for (name, time, value) in news.iter().flat_map(|news| &news.dots) {
        let place = *places.entry(name).or_insert_with(|| {
            wanted(name).then(|| {
                grouped.push((name, Vec::new()));
                grouped.len() - 1
            })
        });
        if let Some(place) = place {
            grouped[place].1.push(Dot { time: *time, value: *value });
        }
    }
    grouped
}

/// `"name": [[seconds, value], ...]`.
fn write_series(name: &SeriesName, dots: &[Dot], dots_max: Option<usize>) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.as_str().len() + 8 + dots.len() * 32);
    write_string(name.as_str(), &mut out);
    out.extend_from_slice(b": ");
    match dots_max {
        Some(max) if dots.len() > max => write_dots(&thin(dots, max), &mut out),
        _ => write_dots(dots, &mut out),
    }
    out
}

/// The envelope of dots in any order.
fn thin(dots: &[Dot], dots_max: usize) -> Vec<Dot> {
    let mut sorted = dots.to_vec();
    sorted.sort_by_key(|dot| dot.time);
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return sorted };
    let until = Timestamp::from_nanos(last.time.nanos().saturating_add(1));
    let columns = u32::try_from(dots_max / 4).unwrap_or(u32::MAX).max(1);
    let mut envelope = Envelope::new(TimeRange::new(first.time, until), columns);
    envelope.add(&sorted);
    envelope.finish()
}

/// `[[seconds, value], ...]`.
pub(crate) fn write_dots(dots: &[Dot], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, dot) in dots.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[" } else { b", [" });
        write_seconds(dot.time, out);
        out.extend_from_slice(b", ");
        write_number(dot.value, out);
        out.push(b']');
    }
    out.push(b']');
}

fn object(parts: &[Arc<Vec<u8>>]) -> String {
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len() + 2).sum::<usize>() + 2);
    text.push(b'{');
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(part);
    }
    text.push(b'}');
    String::from_utf8(text).expect("names and numbers are UTF-8")
}

fn hello(has_store: bool, sequence: u64, series_count: usize) -> String {
    let now = Timestamp::now().seconds_text();
    format!(
        "{{\"now\": {now}, \"store\": {has_store}, \"sequence\": {sequence}, \"series\": {series_count}}}"
    )
}

fn gap_event(earliest: Option<Timestamp>) -> String {
    let (from, until) = (earliest.map(Timestamp::seconds_text), Timestamp::now().seconds_text());
    format!("{{\"from\": {}, \"until\": {until}}}", from.as_deref().unwrap_or("null"))
}

fn series_event(names: &[SeriesName], total: usize) -> String {
    let listed: Vec<&str> = names.iter().take(NAMES_MAX).map(SeriesName::as_str).collect();
    serde_json::json!({"total": total, "new": names.len(), "names": listed}).to_string()
}

fn loss_event(loss: &LossNews) -> String {
    serde_json::json!({
        "application": loss.application,
        "reason": loss.reason.to_string(),
        "lost": loss.lost,
        "from": loss.times.map(|times| times.from.as_secs_f64()),
        "until": loss.times.map(|times| times.until.as_secs_f64()),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use dotter_dot::Reason;

    fn name(text: &str) -> SeriesName {
        SeriesName::new(text).unwrap()
    }

    fn news(sequence: u64, dots: &[(&str, u64, f64)]) -> News {
        let dots =
            dots.iter().map(|(n, t, value)| (name(n), Timestamp::from_secs(*t).unwrap(), *value)).collect();
        News { sequence, dots, losses: Vec::new() }
    }

    fn ask(names: &[&str], after: Option<u64>) -> Ask {
        let interest = Interest::Names(names.iter().map(|n| name(n)).collect());
        Ask { interest, dots_max: None, after }
    }

    /// What one viewer was sent: (id, event, data).
    #[derive(Clone, Default)]
    struct Seen(Rc<RefCell<Vec<String>>>);

    impl Way for Seen {
        fn send(&self, id: Option<&str>, event: &str, data: &str) {
            if event != "hello" {
                self.0
                    .borrow_mut()
                    .push(format!("{}{event} {data}", id.map_or(String::new(), |id| format!("{id} "))));
            }
        }

        fn is_closed(&self) -> bool {
            false
        }
    }

    fn join(live: &mut Live<Seen>, ask: Ask, now: Instant) -> Seen {
        let seen = Seen::default();
        live.join(ask, seen.clone(), now);
        seen
    }

    /// Everything since the last call.
    fn told(seen: &Seen) -> Vec<String> {
        seen.0.take()
    }

    fn live() -> Live<Seen> {
        let mut live = Live::default();
        live.restart(0, 2);
        live
    }

    #[test]
    fn a_viewer_gets_what_it_follows_coalesced_and_with_the_position() {
        let (mut live, start) = (live(), Instant::now());
        let seen = join(&mut live, ask(&["a"], None), start);
        live.add(vec![news(1, &[("a", 1, 1.0), ("b", 1, 9.0)]), news(2, &[("a", 2, f64::NAN)])], vec![], 2);
        live.flush(start);
        live.add(vec![news(3, &[("a", 3, 3.0)])], vec![], 2);
        live.flush(start + EVENT_INTERVAL / 2);
        assert_eq!(told(&seen), ["2 dots {\"a\": [[1, 1.0], [2, null]]}"]);
        live.flush(start + EVENT_INTERVAL);
        assert_eq!(told(&seen), ["3 dots {\"a\": [[3, 3.0]]}"]);
    }

    #[test]
    fn a_viewer_who_comes_back_misses_nothing_and_gets_nothing_twice() {
        let (mut live, start) = (live(), Instant::now());
        live.add(vec![news(1, &[("a", 1, 1.0)]), news(2, &[("a", 2, 2.0)])], vec![], 1);
        live.flush(start);
        live.add(vec![news(3, &[("a", 3, 3.0)])], vec![], 1);
        let seen = join(&mut live, ask(&["a"], Some(1)), start);
        live.flush(start + EVENT_INTERVAL);
        assert_eq!(told(&seen), ["2 dots {\"a\": [[2, 2.0]]}", "3 dots {\"a\": [[3, 3.0]]}"]);
    }

    #[test]
    fn a_position_that_is_gone_is_told_as_a_gap() {
        let mut live = live();
        live.restart(7, 1);
        let seen = join(&mut live, ask(&["a"], Some(3)), Instant::now());
        let told = told(&seen);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("7 gap {\"from\": null, \"until\": "), "{told:?}");
    }

    #[test]
    fn a_viewer_who_stays_is_told_when_the_store_begins_anew() {
        let mut live = Live::default();
        let seen = join(&mut live, ask(&["a"], None), Instant::now());
        live.restart(3, 1);
        assert_eq!(told(&seen), ["series {\"total\":1,\"new\":0,\"names\":[]}"]);
        live.restart(1, 1);
        assert_eq!(told(&seen), ["gap {\"from\": null}"]);
    }

    #[test]
    fn new_series_and_losses_are_told_to_everyone() {
        let (mut live, start) = (live(), Instant::now());
        let seen = join(&mut live, ask(&[], None), start);
        let mut lossy = news(1, &[]);
        lossy.losses.push(LossNews {
            application: "app".into(),
            lost: 5,
            reason: Reason::LAPPED,
            times: Some(TimeRange::new(Timestamp::from_secs(1).unwrap(), Timestamp::from_secs(2).unwrap())),
        });
        live.add(vec![lossy], vec![name("n")], 3);
        live.flush(start);
        assert_eq!(
            told(&seen),
            [
                "series {\"total\":3,\"new\":1,\"names\":[\"n\"]}",
                "loss {\"application\":\"app\",\"reason\":\"lapped\",\"lost\":5,\"from\":1.0,\"until\":2.0}",
            ]
        );
    }

    #[test]
    fn a_quiet_viewer_learns_the_position_now_and_then() {
        let (mut live, start) = (live(), Instant::now());
        let seen = join(&mut live, ask(&["a"], None), start);
        live.add(vec![news(5, &[("b", 1, 1.0)])], vec![], 2);
        live.flush(start);
        assert!(told(&seen).is_empty());
        live.flush(start + MARK_INTERVAL);
        assert_eq!(told(&seen), ["5 mark {}"]);
    }

    #[test]
    fn a_burst_keeps_its_extremes() {
        let dots: Vec<Dot> = (0..10_000)
            .map(|n| Dot { time: Timestamp::from_nanos(n), value: if n == 7_777 { 1e9 } else { n as f64 } })
            .collect();
        let thinned = thin(&dots, 64);
        assert!(thinned.len() <= 64);
        assert!(thinned.iter().any(|dot| dot.value == 1e9));
        assert_eq!(thinned.last(), dots.last());
    }
}
