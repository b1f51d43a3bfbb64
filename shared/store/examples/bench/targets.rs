//! What the store has to reach.

/// On which side of its limit a figure is good.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// One row of the table.
pub(crate) struct Target {
    /// As a stage says it.
    pub(crate) word: &'static str,
    pub(crate) title: &'static str,
    pub(crate) limit: Option<Limit>,
}

const fn target(word: &'static str, title: &'static str, limit: Limit) -> Target {
    Target { word, title, limit: Some(limit) }
}

const fn told(word: &'static str, title: &'static str) -> Target {
    Target { word, title, limit: None }
}

use Limit::{AtLeast, AtMost};

pub(crate) const TARGETS: &[Target] = &[
    target("long-in", "durable ingest, 10 k-dot commits, 1 k series, M dots/s", AtLeast(5.0)),
    told("long-sealed", "and until all of it is in segments, M dots/s"),
    target("small-in", "the same, 1 k-dot commits, M dots/s", AtLeast(2.0)),
    target("sustained-all", "{dots} dots, 1 k series, until all is compacted, M dots/s", AtLeast(8.0)),
    told("sustained-worked", "the same, a second that its threads ran"),
    told("sustained-in", "and until the last is durable, M dots/s"),
    target("sustained-grown", "own memory in its second half, times that in its first", AtMost(1.1)),
    told("sustained-resident-grown", "and with the pages of its files"),
    told("sustained-memory", "most memory of it, MB"),
    told("sustained-written", "bytes written a dot: log, seal and compaction"),
    told("sync-wait", "a write of 16 KB and fdatasync, nothing else, ms"),
    target("wide-in", "100 k series x 100 dots, M dots/s", AtLeast(3.0)),
    told("wide-sealed", "and until all of it is in segments, M dots/s"),
    target("long-bytes", "bytes a dot, 1 k series x 10 k dots", AtMost(1.81)),
    target("wide-bytes", "bytes a dot, 100 k series x 100 dots", AtMost(2.38)),
    target("nab-bytes", "bytes a dot, real series", AtMost(1.50)),
    target("node-bytes", "bytes a dot, node_exporter, 5,000 even scrapes, with index", AtMost(0.40)),
    target("node-late-bytes", "the same, scrapes late by 0 to 40 ms (goal 0.35)", AtMost(0.40)),
    told("node-in", "two hosts of node_exporter, durable, M dots/s"),
    told("node-late-in", "the same, late scrapes"),
    target("long-one", "one series of 10 k dots, warm, ms", AtMost(0.15)),
    target("long-part", "1 % of it, ms", AtMost(0.005)),
    target("long-prefix", "prefix, 1 % of the keys, 100 k dots in 10 series, ms", AtMost(1.0)),
    target("wide-prefix", "prefix, 1 % of the keys, 100 k dots in 1 k series, ms", AtMost(1.0)),
    target("long-scan", "scan, one core, M dots/s", AtLeast(300.0)),
    target("long-scan2", "scan, two threads, M dots/s", AtLeast(180.0)),
    told("wide-scan", "scan of 100 k series, one core, M dots/s"),
    target("long-open", "open and first read, 1 k series, warm, ms", AtMost(3.0)),
    target("wide-open", "the same, 100 k series", AtMost(3.0)),
    target("long-cold", "cold open and first read, 1 k series, ms", AtMost(15.0)),
    target("wide-cold", "cold open and first read, 100 k series, ms", AtMost(15.0)),
    target("killed-writer", "after kill -9, 32 MB of log: until the writer writes, ms", AtMost(100.0)),
    target("killed-reader", "after kill -9, 32 MB of log: open and first read, ms", AtMost(100.0)),
    target("series-bytes", "memory of the writer per active series, KB", AtMost(0.3)),
    target("long-memory", "most memory of an ingest, 1 k series, MB", AtMost(64.0)),
    told("wide-memory", "most memory of an ingest, 100 k series, MB"),
    target("compact-memory", "compaction, 100 k series: memory of its own, MB", AtMost(32.0)),
    told("compact-resident", "compaction, 100 k series: and with the pages of its files, MB"),
    told("compact-rate", "compaction, 100 k series, M dots/s"),
    target("lines-in", "text rows of 54 characters, durable, M rows/s", AtLeast(2.0)),
    target("lines-scan", "text rows, scanned, M rows/s", AtLeast(17.0)),
    told("lines-found", "text rows, searched for a word that one of eight has, M rows/s"),
    target("lines-template", "the same, for a word that no template has, M rows/s", AtLeast(80.0)),
    target("lines-even-bytes", "bytes a text row, even stamps: the text", AtMost(3.5)),
    told("lines-bytes", "the same, stamps of random microseconds, 1.7 bytes each"),
    told("many-add-few", "a commit beside the log, 10 segments, nothing synced, ms"),
    told("many-add", "the same, 10,000 segments, ms"),
    target("many-add-times", "and how many times as long", AtMost(1.5)),
    told("many-refresh-few", "a reader's look after one commit, 10 segments, ms"),
    told("many-refresh", "the same, 10,000 segments, ms"),
    target("many-refresh-times", "and how many times as long", AtMost(2.0)),
    told("many-open", "open and first read, 10,000 segments, ms"),
    told("many-open-wide", "open and first read, 100 k series in 4 segments, warm, ms"),
    target("many-open-names-times", "with 1,000 deletes of names, how many times as long", AtMost(1.1)),
    target("many-open-patterns-times", "with 1,000 deletes of patterns", AtMost(1.1)),
    target("many-open-deletes-times", "with 1,000 deletes, how many times as long", AtMost(1.1)),
    told("rings-made", "300,000 finished rings: made, nothing synced, thousand a second"),
    target("rings-writer", "own memory of their writer, with the seals, MB", AtMost(8.0)),
    told("rings-open", "open, ms"),
    target("rings-open-resident", "memory that it takes, with the pages of its files, MB", AtMost(8.0)),
    told("rings-open-own", "its own part, MB"),
    told("rings-asked-resident", "pages that 300 questions about a ring take, MB"),
    told("rings-refresh", "a reader's look after one more, ms"),
    target("rings-refresh-own", "own memory that it takes, MB", AtMost(1.0)),
    told("month-made", "2.6 M finished rings: made, nothing synced, thousand a second"),
    told("month-writer", "own memory of their writer, with the seals, MB"),
    told("month-open", "open, ms"),
    told("month-open-resident", "memory that it takes, with the pages of its files, MB"),
    told("month-open-own", "its own part, MB"),
    told("month-asked-resident", "pages that 2,600 questions about a ring take, MB"),
    told("month-refresh", "a reader's look after one more, ms"),
    target("month-refresh-own", "own memory that it takes, MB", AtMost(1.0)),
    target("million-times", "{series} series: its speed, times that of 1 k series", AtLeast(0.2)),
    told("million-worked-times", "the same, of the time that its threads ran"),
    told("million-all", "its speed until all is compacted, 20 dots each, M dots/s"),
    told("keep-segments", "segments of the next"),
    target("keep-idle", "a retention pass that finds nothing to do, ms", AtMost(10.0)),
    told("keep-fold", "dots of seconds that become steps of minutes, M dots/s"),
    told("keep-steps", "these steps read, M steps/s"),
    told("keep-bytes", "bytes a step"),
    told("few-all", "1 k series, as many dots, until all is compacted, M dots/s"),
    told("million-in", "{series} series, until the last dot is durable, M dots/s"),
    target("million-log", "{series} series: bytes written to the log a dot", AtMost(15.0)),
    told("million-sealed", "to segments of level 0"),
    told("million-compacted", "by compaction"),
    target("million-written", "all of it", AtMost(60.0)),
    told("million-paged", "and as the system counts it, in whole pages"),
    told("few-log", "1 k series: bytes written to the log a dot"),
    told("few-written", "all of it"),
    told("million-memory", "{series} series: most memory of the ingest without names, MB"),
    told("million-bytes", "{series} series: bytes a dot"),
    target("million-cold", "{series} series: cold open and first read, ms", AtMost(15.0)),
    target("million-open-memory", "most memory of that, MB", AtMost(32.0)),
    told("million-open", "the same, warm, ms"),
    // A tenth of the 3 ms that opening may take.
    target("million-deletes-more", "with 1,000 deletes, how much longer, ms", AtMost(0.3)),
];

impl Limit {
    pub(crate) fn is_kept(self, value: f64) -> bool {
        match self {
            AtLeast(least) => value >= least,
            AtMost(most) => value <= most,
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            AtLeast(least) => format!(">= {least}"),
            AtMost(most) => format!("<= {most}"),
        }
    }
}
