//! The live stream: what was committed goes to every viewer who follows it, a few times a second.
//!
//! Events: `hello` first, then `dots` (`{"series": [[seconds, value], ...], ...}`), `series` (new ones), `loss`
//! (a loss was counted), `gap` (something was missed: `from` when on to ask again) and now and then `mark`,
//! which only carries an id. The id is the position in the store's log; a viewer who comes back with it, as
//! `Last-Event-ID` or as `after=`, continues there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotter_dot::SeriesName;
use dotter_http::EventSender;

use crate::events::{group, hello, loss_event, object, series_event, write_series};
use crate::feed::{LossNews, News};
use crate::follows::{Follows, Full, Interest, Places};
use crate::recent::{Recent, Resume};
use crate::replay::{self, Missed, Told};

/// A viewer is sent nothing more often than this.
pub(crate) const EVENT_INTERVAL: Duration = Duration::from_millis(50);
/// A viewer whose series are quiet learns the position this often.
const MARK_INTERVAL: Duration = Duration::from_secs(5);
/// What waits for a slow viewer before its oldest is dropped, in bytes.
pub(crate) const QUEUE_BYTES_MAX: usize = 2 << 20;
/// Losses in one flush; they are counted in the ledger, whatever is told here.
const LOSSES_MAX: usize = 1_000;

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
    follows: Follows,
    /// The first dot of those that nobody was looked for: which commit of the pending, which dot of it.
    unmatched: (usize, usize),
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
    /// In [`Follows`].
    place: usize,
    dots_max: Option<usize>,
    /// The last position it was told, and when.
    told: u64,
    told_at: Instant,
}

impl<W> Default for Live<W> {
    fn default() -> Live<W> {
        Live {
            viewers: Vec::new(),
            recent: Recent::default(),
            pending: Vec::new(),
            follows: Follows::default(),
            unmatched: (0, 0),
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
        self.unmatched = (0, 0);
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

    /// Looks who follows the series that have news, in about `steps_max` steps; whether more is left. Whoever calls it
    /// until nothing is left, before each flush, lets others have the lock in between.
    pub(crate) fn match_some(&mut self, steps_max: u64) -> bool {
        if self.viewers.is_empty() {
            return false;
        }
        let (first, at) = self.unmatched;
        let begun = self.follows.comparisons();
        let mut steps = 0;
        for (index, news) in self.pending.iter().enumerate().skip(first) {
            let at = if index == first { at } else { 0 };
            for (dot, (name, ..)) in news.dots.iter().enumerate().skip(at) {
                if steps + (self.follows.comparisons() - begun) >= steps_max {
                    self.unmatched = (index, dot);
                    return true;
                }
                self.follows.of(name);
                steps += 1;
            }
        }
        self.unmatched = (self.pending.len(), 0);
        false
    }

    /// Sends what has come in, where it is time to.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.flushed.is_some_and(|flushed| now.saturating_duration_since(flushed) < EVENT_INTERVAL) {
            return;
        }
        self.let_go();
        let pending = std::mem::take(&mut self.pending);
        self.unmatched = (0, 0);
        let new_names = std::mem::take(&mut self.new_names);
        let losses = std::mem::take(&mut self.losses);
        let last = self.recent.last();
        if !(pending.is_empty() && new_names.is_empty() && losses.is_empty()) {
            self.flushed = Some(now);
        }
        if self.viewers.is_empty() {
            return;
        }
        let grouped = group(&pending, |name| self.follows.of(name));
        // By place: which of the series a viewer gets.
        let mut followed: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, (_, followed_by, _)) in grouped.iter().enumerate() {
            followed_by.iter().for_each(|place| followed.entry(place).or_default().push(index));
        }
        // Many viewers follow the same series: each is written once for all who take as many of its dots.
        let mut written: HashMap<(usize, Option<usize>), Arc<Vec<u8>>> = HashMap::new();
        let losses: Vec<String> = losses.iter().map(loss_event).collect();
        let series = (!new_names.is_empty()).then(|| series_event(&new_names, self.series_count));
        for viewer in &mut self.viewers {
            let parts: Vec<Arc<Vec<u8>>> = followed
                .get(&viewer.place)
                .into_iter()
                .flatten()
                .map(|index| {
                    let (name, _, dots) = &grouped[*index];
                    let dots_max = viewer.dots_max.filter(|max| dots.len() > *max);
                    let write = || Arc::new(write_series(name, dots, dots_max));
                    written.entry((*index, dots_max)).or_insert_with(write).clone()
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
            losses.iter().for_each(|loss| viewer.send("loss", loss));
        }
    }

    /// Begins a stream for a viewer: with what it missed up to the position it asks to continue after, then with all
    /// that came since.
    ///
    /// # Errors
    ///
    /// [`Full`] where those who are there follow as much as can be followed.
    pub(crate) fn join(&mut self, ask: Ask, missed: Vec<Told>, way: W, now: Instant) -> Result<(), Full> {
        // Between two flushes, or while there is no store, many may have come and gone.
        self.let_go();
        let place = self.follows.join(ask.interest)?;
        self.unmatched = (0, 0);
        let last = self.recent.last();
        let told = ask.after.unwrap_or(last);
        let mut viewer = Viewer { way, place, dots_max: ask.dots_max, told, told_at: now };
        viewer.send("hello", &hello(self.has_store, last, self.series_count));
        let begun = self.follows.comparisons();
        let left = ask.after.and_then(|after| self.missed(after)).map(|missed| {
            missed.events(viewer.dots_max, |name| {
                let few = self.follows.comparisons() - begun < replay::COMPARISONS_MAX;
                few.then(|| self.follows.of(name).contains(place))
            })
        });
        for told in missed.into_iter().chain(left.into_iter().flatten()) {
            viewer.tell(told.sequence, told.event, &told.data, now);
        }
        self.viewers.push(viewer);
        Ok(())
    }

    /// What came after a position and will not be sent at the next flush; `None` where there is no store.
    pub(crate) fn missed(&self, after: u64) -> Option<Missed> {
        let unsent = self.pending.first().map_or(u64::MAX, |news| news.sequence);
        let resume = match self.has_store.then(|| self.recent.since(after))? {
            Resume::Kept(mut news) => {
                news.retain(|news| news.sequence < unsent);
                Resume::Kept(news)
            }
            gone => gone,
        };
        Some(Missed { after, resume, until: self.recent.last().min(unsent.saturating_sub(1)) })
    }

    /// Forgets viewers that are gone.
    fn let_go(&mut self) {
        let mut gone = Places::default();
        self.viewers.retain(|viewer| {
            let closed = viewer.way.is_closed();
            if closed {
                gone.insert(viewer.place);
            }
            !closed
        });
        self.follows.leave(&gone);
    }

    /// How many viewers there are.
    pub(crate) fn viewers(&self) -> usize {
        self.viewers.len()
    }

    /// Comparisons of names with viewers' patterns since the start.
    #[cfg(test)]
    pub(crate) fn comparisons(&self) -> u64 {
        self.follows.comparisons()
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::follows::COMPARISONS_MAX;
    use dotter_dot::{Reason, TimeRange, Timestamp};

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
        live.join(ask, Vec::new(), seen.clone(), now).unwrap();
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
    fn what_comes_while_it_is_worked_out_what_a_viewer_missed_is_neither_left_out_nor_told_twice() {
        let start = Instant::now();
        let commit = |live: &mut Live<Seen>, sequence| {
            live.add(vec![news(sequence, &[("a", sequence, 0.0), ("b", sequence, 0.0)])], vec![], 2);
        };
        for (after, expected) in
            [(1, vec!["2 dots", "3 dots", "4 dots"]), (99, vec!["2 gap", "3 dots", "4 dots"])]
        {
            let mut live = live();
            (1..=2).for_each(|sequence| commit(&mut live, sequence));
            live.flush(start);
            let ask = ask(&["a"], Some(after));
            let missed = live.missed(after).unwrap();
            commit(&mut live, 3);
            live.flush(start + EVENT_INTERVAL);
            commit(&mut live, 4);
            let (seen, told_before) = (Seen::default(), missed.write(&ask.interest, None));
            let ask = Ask { after: Some(missed.continues_after()), ..ask };
            live.join(ask, told_before, seen.clone(), start).unwrap();
            live.flush(start + EVENT_INTERVAL * 2);
            let told = told(&seen);
            let events: Vec<&str> = told.iter().map(|event| event.split(" {").next().unwrap()).collect();
            assert_eq!(events, expected, "after {after}");
        }
    }

    #[test]
    fn a_viewer_who_comes_back_with_too_much_to_compare_is_told_of_a_gap() {
        let (mut live, start) = (live(), Instant::now());
        let pattern = |n| dotter_query::Pattern::new(&format!("*{n}.x")).unwrap();
        let interest = Interest::Patterns((0..COMPARISONS_MAX).map(pattern).collect());
        let names: Vec<String> = (0..20_000).map(|n| format!("{n}.y")).collect();
        let dots: Vec<_> = (1..).zip(&names).map(|(second, name)| (&**name, second, 1.0)).collect();
        live.add(vec![news(1, &[("0.x", 7, 1.0)]), news(2, &dots)], vec![], 1);
        live.flush(start);
        let beforehand = live.missed(0).unwrap().write(&interest, None);
        let beforehand: Vec<_> = beforehand.iter().map(|told| (told.sequence, told.event)).collect();
        assert_eq!(beforehand, [(1, "dots"), (2, "gap")]);
        let ask = Ask { interest, dots_max: None, after: Some(0) };
        let told = told(&join(&mut live, ask, start));
        assert_eq!(told[0], "1 dots {\"0.x\": [[7, 1.0]]}");
        assert!(told.len() == 2 && told[1].starts_with("2 gap {\"from\": 1, "), "{told:?}");
        assert!(live.comparisons() <= replay::COMPARISONS_MAX + COMPARISONS_MAX as u64);
    }

    #[test]
    fn who_follows_what_is_worked_out_in_small_steps() {
        let (mut live, start) = (live(), Instant::now());
        let seen = join(&mut live, ask(&["7"], None), start);
        let names: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        let dots: Vec<_> = names.iter().map(|name| (&**name, 1, 1.0)).collect();
        live.add(vec![news(1, &dots[..500]), news(2, &dots[500..])], vec![], 1_000);
        assert_eq!((0..).take_while(|_| live.match_some(100)).count(), 9);
        live.flush(start);
        assert_eq!(told(&seen), ["2 dots {\"7\": [[1, 1.0]]}"]);
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
}
