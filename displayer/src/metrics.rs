//! `/metrics`: the displayer's own numbers as Prometheus text.

use std::sync::atomic::Ordering::Relaxed;

use dotter_daemon::Exposition;
use dotter_http::{Counters, Response};

use crate::follower::Followed;

/// The answer to `/metrics`.
pub(crate) fn answer(followed: &Followed, door: &Counters) -> Response {
    let mut text = Exposition::default();
    let view = followed.watched.view().ok();
    let ready = if view.is_some() { 1.0 } else { 0.0 };
    text.gauge("displayer_ready", "Whether there is a store to read.", ready);
    let series = view.as_ref().map_or(0, |view| view.catalogue.names().len());
    text.gauge("displayer_series", "Series in the store.", series as f64);
    let sequence = view.as_ref().map_or(0, |view| view.sequence);
    text.gauge("displayer_store_sequence", "Last commit seen in the store's log.", sequence as f64);
    let dots = followed.dots.load(Relaxed);
    text.counter("displayer_live_dots_total", "Dots seen as they were committed.", dots);
    let (viewers, events) = {
        let live = followed.live();
        (live.viewers(), live.events())
    };
    text.gauge("displayer_live_viewers", "Viewers of the live stream.", viewers as f64);
    text.counter("displayer_live_events_total", "Events of dots queued for viewers.", events);
    for (name, help, value) in door.iter() {
        match name.strip_suffix("_now") {
            Some(name) => text.gauge(&format!("displayer_http_{name}"), help, value as f64),
            None => text.counter(&format!("displayer_http_{name}_total"), help, value),
        }
    }
    Response::new(200, Exposition::CONTENT_TYPE, text.finish())
}
