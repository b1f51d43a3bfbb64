//! What the events of the live stream say.

use std::collections::HashMap;
use std::sync::Arc;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_query::{Dot, Envelope, write_number, write_seconds, write_string};

use crate::feed::{LossNews, News};
use crate::follows::Places;

/// Names in one `series` event.
const NAMES_MAX: usize = 100;

/// Dots by series with those who follow it, in the order the series first appear.
pub(crate) type BySeries<'a> = Vec<(&'a SeriesName, Places, Vec<Dot>)>;

/// Dots of the series that somebody follows, commit order within each.
pub(crate) fn group<'a>(
    news: &'a [Arc<News>],
    mut follows: impl FnMut(&SeriesName) -> Places,
) -> BySeries<'a> {
    let mut places: HashMap<&SeriesName, Option<usize>> = HashMap::new();
    let mut grouped: BySeries<'_> = Vec::new();
    for (name, time, value) in news.iter().flat_map(|news| &news.dots) {
        let place = *places.entry(name).or_insert_with(|| {
            let followed_by = follows(name);
            (!followed_by.is_empty()).then(|| {
                grouped.push((name, followed_by, Vec::new()));
                grouped.len() - 1
            })
        });
        if let Some(place) = place {
            grouped[place].2.push(Dot { time: *time, value: *value });
        }
    }
    grouped
}

/// `"name": [[seconds, value], ...]`.
pub(crate) fn write_series(name: &SeriesName, dots: &[Dot], dots_max: Option<usize>) -> Vec<u8> {
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

pub(crate) fn object(parts: &[Arc<Vec<u8>>]) -> String {
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

pub(crate) fn hello(has_store: bool, sequence: u64, series_count: usize) -> String {
    let now = Timestamp::now().seconds_text();
    format!(
        "{{\"now\": {now}, \"store\": {has_store}, \"sequence\": {sequence}, \"series\": {series_count}}}"
    )
}

pub(crate) fn gap_event(earliest: Option<Timestamp>) -> String {
    let (from, until) = (earliest.map(Timestamp::seconds_text), Timestamp::now().seconds_text());
    format!("{{\"from\": {}, \"until\": {until}}}", from.as_deref().unwrap_or("null"))
}

pub(crate) fn series_event(names: &[SeriesName], total: usize) -> String {
    let listed: Vec<&str> = names.iter().take(NAMES_MAX).map(SeriesName::as_str).collect();
    serde_json::json!({"total": total, "new": names.len(), "names": listed}).to_string()
}

pub(crate) fn loss_event(loss: &LossNews) -> String {
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
    use super::*;

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
