//! The collector's own numbers: for `/metrics`, for the health pages, and as series in its own store.
//!
//! Each number stands for itself, so `Relaxed` is enough throughout.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dotter_daemon::Exposition;
use dotter_dot::{NamedDots, Reason, SeriesName, Timestamp};
use dotter_http::Counters;
use dotter_store::{Ledger, Unsealed};

use crate::bad_line::BadLine;
use crate::foreign::Foreign;
use crate::tally::Tally;

/// The thread that commits shows itself far more often; after this long it hangs.
const BEAT_MAX: Duration = Duration::from_secs(5);

/// The series of the collector itself, besides those of what was lost.
pub(crate) const OWN_SERIES: [&str; 4] = [
    "dotter.collector.dots",
    "dotter.collector.batches",
    "dotter.collector.sync_seconds",
    "dotter.collector.series",
];

/// What has happened since the start, and how things stand.
#[derive(Debug)]
pub(crate) struct Metrics {
    started: Instant,
    /// When the thread that commits was last seen at the top of its loop, in ms since the start.
    seen_ms: AtomicU64,
    trouble: Mutex<Option<String>>,
    /// How far the disk is below its reserve.
    short: Mutex<Option<String>>,
    pub(crate) batches: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    after_finish: AtomicU64,
    unsure: AtomicU64,
    pub(crate) dots: AtomicU64,
    lost: ByReason,
    refused: ByReason,
    pub(crate) held_back: AtomicU64,
    pub(crate) claims_gone: AtomicU64,
    pub(crate) reads_put_off: AtomicU64,
    pub(crate) failures: AtomicU64,
    syncs: AtomicU64,
    sync_ns: AtomicU64,
    sync_last_ns: AtomicU64,
    /// The longest since the last beat.
    sync_longest_ns: AtomicU64,
    series: AtomicU64,
    unsealed_bytes: AtomicU64,
    unsealed_files: AtomicU64,
    pub(crate) sealed: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) retention_bad_rules: AtomicU64,
    pub(crate) disk_free_bytes: AtomicU64,
    pub(crate) disk_reserve_bytes: AtomicU64,
    pub(crate) disk_refused: AtomicU64,
    /// Bytes that the store may have; 0 where that is not limited.
    pub(crate) max_bytes: AtomicU64,
    /// Bytes of the store above that, after the last retention pass.
    pub(crate) above_max_bytes: AtomicU64,
    /// Segments whose time is over and that could not go at the last retention pass.
    pub(crate) retention_waiting: AtomicU64,
    /// Dots whose time is over and that a change of the rules holds.
    pub(crate) retention_held_dots: AtomicU64,
    pub(crate) lines: AtomicU64,
    bad_lines: [AtomicU64; BadLine::ALL.len()],
    foreign: [AtomicU64; Foreign::ALL.len()],
    pub(crate) lines_dropped: AtomicU64,
    pub(crate) line_connections: AtomicU64,
    pub(crate) line_connections_full: AtomicU64,
    pub(crate) line_connections_evicted: AtomicU64,
    pub(crate) line_places: AtomicU64,
}

#[derive(Debug)]
struct ByReason([AtomicU64; 256]);

impl ByReason {
    fn new() -> ByReason {
        ByReason([const { AtomicU64::new(0) }; 256])
    }

    fn add(&self, counts: &BTreeMap<Reason, u64>) {
        for (reason, count) in counts {
            self.0[usize::from(reason.0)].fetch_add(*count, Relaxed);
        }
    }

    fn show(&self, text: &mut Exposition, name: &str, help: &str) {
        let counts = (0..=255).map(Reason).zip(&self.0).map(|(reason, count)| (reason, count.load(Relaxed)));
        let counts: Vec<_> =
            counts.filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.to_string(), n)).collect();
        text.counters(name, help, "reason", counts.iter().map(|(reason, n)| (reason.as_str(), *n)));
    }
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let zero = || AtomicU64::new(0);
        Metrics {
            started: Instant::now(),
            seen_ms: zero(),
            trouble: Mutex::new(Some("the store is not open yet".into())),
            short: Mutex::default(),
            batches: zero(),
            conflicts: zero(),
            after_finish: zero(),
            unsure: zero(),
            dots: zero(),
            lost: ByReason::new(),
            refused: ByReason::new(),
            held_back: zero(),
            claims_gone: zero(),
            reads_put_off: zero(),
            failures: zero(),
            syncs: zero(),
            sync_ns: zero(),
            sync_last_ns: zero(),
            sync_longest_ns: zero(),
            series: zero(),
            unsealed_bytes: zero(),
            unsealed_files: zero(),
            sealed: zero(),
            compactions: zero(),
            retention_bad_rules: zero(),
            disk_free_bytes: zero(),
            disk_reserve_bytes: zero(),
            disk_refused: zero(),
            max_bytes: zero(),
            above_max_bytes: zero(),
            retention_waiting: zero(),
            retention_held_dots: zero(),
            lines: zero(),
            bad_lines: [const { AtomicU64::new(0) }; BadLine::ALL.len()],
            foreign: [const { AtomicU64::new(0) }; Foreign::ALL.len()],
            lines_dropped: zero(),
            line_connections: zero(),
            line_connections_full: zero(),
            line_connections_evicted: zero(),
            line_places: zero(),
        }
    }

    /// The thread that commits is at the top of its loop.
    pub(crate) fn see(&self) {
        self.seen_ms.store(self.started.elapsed().as_millis() as u64, Relaxed);
    }

    /// What stands in the way of commits; `None` where they work.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// How far the disk is below its reserve; `None` where it is not.
    pub(crate) fn set_short(&self, short: Option<String>) {
        *self.short.lock().unwrap_or_else(PoisonError::into_inner) = short;
    }

    /// As [`Metrics::set_short`] was told.
    pub(crate) fn short(&self) -> Option<String> {
        self.short.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// # Errors
    ///
    /// What is wrong: the log fails, or the thread that commits has not been seen for too long, as when a sync hangs.
    pub(crate) fn health(&self) -> Result<(), String> {
        self.trouble()?;
        let unseen = self.started.elapsed().saturating_sub(Duration::from_millis(self.seen_ms.load(Relaxed)));
        if unseen > BEAT_MAX {
            return Err(format!(
                "the log has not moved for {} s, at most {} s are normal",
                unseen.as_secs(),
                BEAT_MAX.as_secs()
            ));
        }
        Ok(())
    }

    /// # Errors
    ///
    /// Why no rows are taken: the log fails, or the disk has less free than its reserve.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.trouble()?;
        match self.short() {
            Some(short) => Err(format!("{short}; no rows are taken; deletes, expiry and reading go on")),
            None => Ok(()),
        }
    }

    /// # Errors
    ///
    /// What stands in the way of commits.
    fn trouble(&self) -> Result<(), String> {
        match &*self.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(trouble) => Err(trouble.clone()),
            None => Ok(()),
        }
    }

    /// A group of commits is durable.
    pub(crate) fn add(&self, tally: &Tally) {
        self.batches.fetch_add(tally.batches, Relaxed);
        self.dots.fetch_add(tally.dots + tally.rows, Relaxed);
        self.lost.add(&tally.lost);
        self.refused.add(&tally.refused);
        self.unsure.fetch_add(tally.unsure, Relaxed);
    }

    /// Records came of a ring that had finished. They are not kept, so no commit is waited for.
    pub(crate) fn after_finish(&self, records: u64) {
        self.after_finish.fetch_add(records, Relaxed);
    }

    pub(crate) fn synced(&self, took: Duration) {
        let ns = took.as_nanos() as u64;
        self.syncs.fetch_add(1, Relaxed);
        self.sync_ns.fetch_add(ns, Relaxed);
        self.sync_last_ns.store(ns, Relaxed);
        self.sync_longest_ns.fetch_max(ns, Relaxed);
    }

    pub(crate) fn set_store(&self, series: usize, unsealed: &Unsealed) {
        self.series.store(series as u64, Relaxed);
        self.unsealed_bytes.store(unsealed.bytes, Relaxed);
        self.unsealed_files.store(unsealed.files, Relaxed);
    }

    pub(crate) fn bad_line(&self, why: BadLine, count: u64) {
        self.bad_lines[why as usize].fetch_add(count, Relaxed);
    }

    /// A Graphite connection was closed because it spoke something else.
    pub(crate) fn foreign(&self, what: Foreign) {
        self.foreign[what as usize].fetch_add(1, Relaxed);
    }

    /// The numbers kept as series: totals since the start, the longest sync since the last call, and what the ledger
    /// holds as lost per application.
    pub(crate) fn rows(&self, ledger: &Ledger, now: Timestamp) -> NamedDots {
        let mut rows = NamedDots::default();
        let mut put = |name: &str, value: f64| {
            // An application whose name makes no series name is in the ledger all the same.
            if let Ok(name) = SeriesName::new(name) {
                rows.push_number(&name, now, value);
            }
        };
        let own = [
            self.dots.load(Relaxed) as f64,
            self.batches.load(Relaxed) as f64,
            self.sync_longest_ns.swap(0, Relaxed) as f64 / 1e9,
            self.series.load(Relaxed) as f64,
        ];
        OWN_SERIES.iter().zip(own).for_each(|(name, value)| put(name, value));
        let mut lost = BTreeMap::<&str, u64>::new();
        let open = ledger.open_rings().map(|(_, account)| (account.application.as_str(), account.lost()));
        let finished = ledger.applications().map(|(name, application)| (name, application.lost()));
        for (name, count) in open.chain(finished).filter(|(_, count)| *count > 0) {
            *lost.entry(name).or_default() += count;
        }
        for (application, count) in lost {
            put(&format!("dotter.lost.{}", as_part(application)), count as f64);
        }
        rows
    }

    /// The body of `/metrics`.
    ///
    /// - `queued`: posts and jobs of lines that wait
    pub(crate) fn text(&self, queued: (usize, usize), door: &Counters) -> String {
        let mut text = Exposition::default();
        let seconds = |ns: &AtomicU64| ns.load(Relaxed) as f64 / 1e9;
        let now = |gauge: &AtomicU64| gauge.load(Relaxed) as f64;
        let mut counter =
            |name: &str, help: &str, value: &AtomicU64| text.counter(name, help, value.load(Relaxed));
        counter("collector_batches_total", "Batches committed.", &self.batches);
        counter("collector_conflicts_total", "Posts answered with what is wanted instead.", &self.conflicts);
        counter(
            "collector_after_finish_total",
            "Records that came after their ring had finished, and are not kept.",
            &self.after_finish,
        );
        counter(
            "collector_unsure_rings_total",
            "New rings that may have finished before and so be counted twice: what would tell is damaged.",
            &self.unsure,
        );
        counter("collector_dots_total", "Dots committed, from every way in.", &self.dots);
        counter("collector_syncs_total", "Times the log was synced.", &self.syncs);
        counter("collector_failures_total", "Times the log failed and was opened anew.", &self.failures);
        counter(
            "collector_held_back_total",
            "Posts put off because the log waits to be sealed.",
            &self.held_back,
        );
        counter(
            "collector_disk_refused_total",
            "Posts refused because the disk has less free than its reserve.",
            &self.disk_refused,
        );
        counter(
            "collector_claims_gone_total",
            "Transactions dropped because their sender had gone another way, or had ended.",
            &self.claims_gone,
        );
        counter(
            "collector_reads_put_off_total",
            "Reads put off because as many ran as may at once.",
            &self.reads_put_off,
        );
        counter("collector_sealed_dots_total", "Dots moved from the log into segments.", &self.sealed);
        counter("collector_compactions_total", "Rounds of compaction.", &self.compactions);
        counter("collector_graphite_lines_total", "Graphite lines taken.", &self.lines);
        counter(
            "collector_graphite_dropped_total",
            "Graphite lines taken and never written.",
            &self.lines_dropped,
        );
        counter(
            "collector_graphite_full_total",
            "Times that Graphite connections had to wait for a place.",
            &self.line_connections_full,
        );
        counter(
            "collector_graphite_evicted_total",
            "Graphite connections closed because they were silent while others waited for a place.",
            &self.line_connections_evicted,
        );
        let bad = BadLine::ALL.iter().map(|why| (why.as_str(), self.bad_lines[*why as usize].load(Relaxed)));
        text.counters("collector_graphite_bad_lines_total", "Graphite lines not taken.", "reason", bad);
        let foreign =
            Foreign::ALL.iter().map(|what| (what.as_str(), self.foreign[*what as usize].load(Relaxed)));
        let help = "Graphite connections closed because they spoke another protocol.";
        text.counters("collector_graphite_foreign_total", help, "protocol", foreign);
        self.lost.show(&mut text, "collector_lost_total", "Records booked as lost.");
        self.refused.show(&mut text, "collector_refused_total", "Records booked as refused.");
        text.gauge("collector_sync_seconds_sum", "Time spent in syncs of the log.", seconds(&self.sync_ns));
        text.gauge("collector_sync_seconds", "How long the last sync took.", seconds(&self.sync_last_ns));
        text.gauge("collector_queued_posts", "Posts that wait for the thread that commits.", queued.0 as f64);
        text.gauge("collector_queued_lines", "Jobs of Graphite lines that wait for it.", queued.1 as f64);
        text.gauge(
            "collector_unsealed_bytes",
            "Bytes of the log that wait to be sealed.",
            now(&self.unsealed_bytes),
        );
        text.gauge(
            "collector_unsealed_files",
            "Files of the log that wait to be sealed.",
            now(&self.unsealed_files),
        );
        text.gauge(
            "collector_retention_bad_rules",
            "Retention rules that cannot be read and are skipped.",
            now(&self.retention_bad_rules),
        );
        text.gauge(
            "collector_disk_free_bytes",
            "Bytes free in the file system of the store.",
            now(&self.disk_free_bytes),
        );
        text.gauge(
            "collector_disk_reserve_bytes",
            "Bytes that have to be free for rows to be taken, see --disk-reserve.",
            now(&self.disk_reserve_bytes),
        );
        text.gauge(
            "collector_max_bytes",
            "Bytes that the store may have, see --max-bytes; 0 where that is not limited.",
            now(&self.max_bytes),
        );
        text.gauge(
            "collector_above_max_bytes",
            "Bytes of the store above --max-bytes after the last look at what is old.",
            now(&self.above_max_bytes),
        );
        text.gauge(
            "collector_retention_waiting",
            "Segments whose time is over and that stay: damaged, or behind an older one of their time.",
            now(&self.retention_waiting),
        );
        text.gauge(
            "collector_retention_held_dots",
            "Dots whose time is over and that stay for a day, since the rules have changed.",
            now(&self.retention_held_dots),
        );
        text.gauge("collector_series", "Series known to the log.", now(&self.series));
        text.gauge(
            "collector_graphite_connections",
            "Graphite connections open.",
            now(&self.line_connections),
        );
        text.gauge(
            "collector_graphite_connections_max",
            "Graphite connections that may be open.",
            now(&self.line_places),
        );
        let healthy = if self.health().is_ok() { 1.0 } else { 0.0 };
        text.gauge("collector_healthy", "Whether /-/healthy says so.", healthy);
        if let Some(bytes) = resident_bytes() {
            text.gauge("collector_resident_bytes", "Memory resident.", bytes as f64);
        }
        for (name, help, value) in door.iter() {
            match name.strip_suffix("_now") {
                Some(name) => text.gauge(&format!("collector_http_{name}"), help, value as f64),
                None => text.counter(&format!("collector_http_{name}_total"), help, value),
            }
        }
        text.finish()
    }
}

/// One part of a series name: what would begin another part or a tag, or may stand in no name, is replaced.
fn as_part(text: &str) -> String {
    let replaced = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '.' | ';');
    text.chars().map(|c| if replaced(c) { '_' } else { c }).collect()
}

/// `None` where /proc is not there.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_number_and_reasons_only_where_they_occurred() {
        let metrics = Metrics::new();
        let tally = Tally { batches: 1, dots: 5, lost: [(Reason::LAPPED, 3)].into(), ..Tally::default() };
        metrics.add(&tally);
        metrics.synced(Duration::from_millis(2));
        metrics.bad_line(BadLine::Value, 4);
        let text = metrics.text((1, 2), &Counters::default());
        for line in [
            "dotter_collector_batches_total 1",
            "dotter_collector_dots_total 5",
            "dotter_collector_lost_total{reason=\"lapped\"} 3",
            "dotter_collector_graphite_bad_lines_total{reason=\"value\"} 4",
            "dotter_collector_sync_seconds 0.002",
            "dotter_collector_queued_posts 1",
            "dotter_collector_http_connections 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("refused_total{"), "{text}");
        assert!(resident_bytes().unwrap() > 100_000);
    }

    #[test]
    fn health_tells_trouble_from_silence() {
        let mut metrics = Metrics::new();
        assert!(metrics.health().unwrap_err().contains("not open yet"));
        metrics.set_trouble(None);
        metrics.see();
        metrics.health().unwrap();
        // As if it had started, and then hung, long ago.
        metrics.started -= BEAT_MAX * 2;
        assert!(metrics.health().unwrap_err().contains("not moved"));
        metrics.ready().unwrap();
        // A restart would not help.
        metrics.set_short(Some("too little".into()));
        metrics.see();
        metrics.health().unwrap();
        assert!(metrics.ready().unwrap_err().starts_with("too little; no rows are taken"));
    }

    #[test]
    fn an_application_is_one_part_of_a_name() {
        assert_eq!(as_part("web server.1;a=b\n"), "web_server_1_a=b_");
    }
}
