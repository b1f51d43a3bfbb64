//! Prometheus: a server; dots in by remote write, out by range selectors.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::engine::{Engine, Reading, Writing};
use crate::server::{self, Encoder, Server};
use crate::work::{Batch, Kind, Sum, Work};

pub(crate) const ENGINE: Engine = Engine {
    word: "prometheus",
    title: "Prometheus, HTTP",
    durability: "written to a log, not synced",
    needs: Some(("prometheus", "prometheus")),
    dots: Some((write, read)),
    lines: None,
    share: |kind| match kind {
        Kind::Small => 0.5,
        // Its blocks are of two hours: years of sparse series become thousands of them.
        Kind::Real => 0.0,
        _ => 1.0,
    },
};

struct Store {
    dir: PathBuf,
    server: Server,
    encoder: Encoder,
    /// Milliseconds: a range selector looks back from an end, and must not begin before 1970.
    span: Range<u64>,
}

fn start(dir: &Path, work: &Work) -> Result<Store, Failure> {
    let config = dir.join("prometheus.yml");
    std::fs::write(&config, "{}\n")?;
    let command = |address: &str| {
        let mut command = Command::new("prometheus");
        command.arg("--config.file").arg(&config).arg("--storage.tsdb.path").arg(dir.join("data"));
        command.args(["--storage.tsdb.retention.time", "90y", "--web.listen-address", address]);
        command.args([
            "--web.enable-remote-write-receiver",
            "--web.enable-admin-api",
            "--log.level",
            "error",
        ]);
        command.args(["--query.max-samples", "1000000000", "--query.timeout", "10m"]);
        command
    };
    let span = work.span();
    let span = span.start / 1_000_000..span.end / 1_000_000;
    let server = Server::start(command, "/-/ready")?;
    Ok(Store { dir: dir.to_owned(), server, encoder: Encoder::new(work), span })
}

fn write(dir: &Path, work: &Work) -> Result<Box<dyn Writing>, Failure> {
    Ok(Box::new(start(dir, work)?))
}

impl Writing for Store {
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.server.remote_write("/api/v1/write", &self.encoder.encode(batch)?)
    }

    /// Blocks of everything, and nothing but them.
    fn settle(&mut self) -> Result<(), Failure> {
        self.server.ask("/api/v1/admin/tsdb/snapshot", &[])?;
        self.server.stop()?;
        let (data, all) = (self.dir.join("data"), self.dir.join("all"));
        std::fs::rename(&data, &all)?;
        let snapshot = std::fs::read_dir(all.join("snapshots"))?.next().ok_or("there is no snapshot")??;
        std::fs::rename(snapshot.path(), &data)?;
        Ok(std::fs::remove_dir_all(&all)?)
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.id())
    }
}

fn read(dir: &Path, work: &Work) -> Result<Box<dyn Reading>, Failure> {
    Ok(Box::new(start(dir, work)?))
}

impl Store {
    fn sum(&self, selector: &str, range: Range<u64>) -> Result<Sum, Failure> {
        let from = (range.start / 1_000_000).max(self.span.start);
        let last = (range.end / 1_000_000).min(self.span.end) - 1;
        // Both ends are included.
        let query = format!("{selector}[{}ms]", (last - from).max(1));
        let time = format!("{:.3}", last as f64 / 1e3);
        let answer = self.server.ask("/api/v1/query", &[("query", &query), ("time", &time)])?;
        let mut sum = Sum::default();
        // Of each series a list of [seconds,"value"], and no other list holds lists.
        for series in std::str::from_utf8(&answer)?.split("\"values\":[[").skip(1) {
            let list = &series[..series.find("]]").ok_or("a list without an end")?];
            for dot in list.split("],[") {
                let (time, value) = dot.split_once(",\"").ok_or("a dot without a value")?;
                let time = (time.parse::<f64>()? * 1e3).round() as u64 * 1_000_000;
                sum.add_nearly(time, value.trim_end_matches('"').parse()?);
            }
        }
        Ok(sum)
    }
}

impl Reading for Store {
    fn series(&mut self, work: &Work, number: u32, range: Range<u64>) -> Result<Sum, Failure> {
        self.sum(&server::selector(work, number), range)
    }

    fn host(&mut self, work: &Work, host: u32) -> Result<Sum, Failure> {
        self.sum(&format!("{{host=\"{}\"}}", server::host(work, host * work.together)), 0..u64::MAX)
    }

    /// Host after host: one answer with everything would be larger than it is used to give.
    fn scan(&mut self, work: &Work) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        for host in 0..work.hosts() {
            sum.join(&self.host(work, host)?);
        }
        Ok(sum)
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.id())
    }
}
