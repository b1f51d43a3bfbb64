//! `/api/losses`: what the ledger counted, application by application.
//!
//! `{"lost", "refused", "applications": [{"application", "rings", "stored", "lost": {reason: {"count", "from",
//! "until"}}, "refused": {reason: count}}], "recent": [{"application", "reason", "lost", "from", "until"}]}`; `recent`
//! are the last losses whose times are known, oldest first.

use dotter_http::Response;
use serde_json::{Map, Value, json};

use crate::feed::View;

const RECENT_MAX: usize = 500;
const APPLICATIONS_MAX: usize = 1_000;

/// The answer to `/api/losses`.
pub(crate) fn answer(view: &View) -> Response {
    let applications = (view.losses)();
    let (mut all_lost, mut all_refused) = (0_u64, 0_u64);
    let mut recent = Vec::new();
    let mut listed = Vec::new();
    for (application, losses) in &applications {
        all_lost += losses.lost.values().sum::<u64>();
        all_refused += losses.refused.values().sum::<u64>();
        recent.extend(losses.spans.iter().map(|span| (span, application)));
        if listed.len() >= APPLICATIONS_MAX {
            continue;
        }
        let lost: Map<String, Value> = losses
            .lost
            .iter()
            .map(|(reason, count)| {
                let spans = losses.spans.iter().filter(|span| span.reason == *reason);
                let from = spans.clone().map(|span| span.times.from).min();
                let until = spans.map(|span| span.times.until).max();
                let tally = json!({
                    "count": count,
                    "from": from.map(|time| time.as_secs_f64()),
                    "until": until.map(|time| time.as_secs_f64()),
                });
                (reason.to_string(), tally)
            })
            .collect();
        let refused: Map<String, Value> =
            losses.refused.iter().map(|(reason, count)| (reason.to_string(), json!(count))).collect();
        listed.push(json!({
            "application": application,
            "rings": losses.rings,
            "stored": losses.stored,
            "lost": lost,
            "refused": refused,
        }));
    }
    recent.sort_by_key(|(span, _)| span.times.until);
    let recent: Vec<Value> = recent[recent.len().saturating_sub(RECENT_MAX)..]
        .iter()
        .map(|(span, application)| {
            json!({
                "application": application,
                "reason": span.reason.to_string(),
                "lost": span.lost,
                "from": span.times.from.as_secs_f64(),
                "until": span.times.until.as_secs_f64(),
            })
        })
        .collect();
    let body = json!({"lost": all_lost, "refused": all_refused, "applications": listed, "recent": recent})
        .to_string();
    Response::json(200, body)
}
