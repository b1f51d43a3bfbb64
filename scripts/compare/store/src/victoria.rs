//! VictoriaMetrics: a server; dots in by remote write, out by export.

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::engine::{Engine, Reading, Writing};
use crate::server::{self, Encoder, Server};
use crate::work::{Batch, Kind, Sum, Work};

pub(crate) const ENGINE: Engine = Engine {
    word: "victoria",
    title: "VictoriaMetrics, HTTP",
    durability: "none at once: no log, in memory for some seconds",
    needs: Some(("victoria-metrics", "victoria-metrics")),
    dots: Some((write, read)),
    lines: None,
    share: |kind| if kind == Kind::Small { 0.5 } else { 1.0 },
};

struct Store {
    server: Server,
    encoder: Encoder,
}

fn start(dir: &Path, work: &Work) -> Result<Store, Failure> {
    let command = |address: &str| {
        let mut command = Command::new("victoria-metrics");
        command.arg("-storageDataPath").arg(dir).args(["-retentionPeriod", "100y", "-loggerLevel", "ERROR"]);
        command.args(["-httpListenAddr", address]);
        command
    };
    Ok(Store { server: Server::start(command, "/health")?, encoder: Encoder::new(work) })
}

fn write(dir: &Path, work: &Work) -> Result<Box<dyn Writing>, Failure> {
    Ok(Box::new(start(dir, work)?))
}

impl Writing for Store {
    fn commit(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.server.remote_write("/api/v1/write", &self.encoder.encode(batch)?)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.server.get("/internal/force_flush")?;
        self.server.get("/internal/force_merge")?;
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let metrics = String::from_utf8(self.server.get("/metrics")?)?;
            let still = |line: &str| line.starts_with("vm_active_force_merges") && !line.ends_with(" 0");
            if !metrics.lines().any(still) {
                return self.server.stop();
            }
        }
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
        let mut form = vec![("match[]", selector.to_owned()), ("reduce_mem_usage", "1".to_owned())];
        form.push(("start", format!("{:.3}", range.start as f64 / 1e9)));
        if range.end < u64::MAX {
            // Both ends are included.
            form.push(("end", format!("{:.3}", (range.end / 1_000_000 - 1) as f64 / 1e3)));
        }
        let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.server.ask("/api/v1/export", &form)?;
        let mut sum = Sum::default();
        for line in std::str::from_utf8(&answer)?.lines() {
            for (time, value) in
                list(line, "\"timestamps\":[")?.split(',').zip(list(line, "\"values\":[")?.split(','))
            {
                sum.add_nearly(time.parse::<u64>()? * 1_000_000, value.parse()?);
            }
        }
        Ok(sum)
    }
}

fn list<'a>(line: &'a str, name: &str) -> Result<&'a str, Failure> {
    let (_, list) = line.split_once(name).ok_or_else(|| format!("no {name} in an exported line"))?;
    Ok(&list[..list.find(']').ok_or("a list without an end")?])
}

impl Reading for Store {
    fn series(&mut self, work: &Work, number: u32, range: Range<u64>) -> Result<Sum, Failure> {
        self.sum(&server::selector(work, number), range)
    }

    fn host(&mut self, work: &Work, host: u32) -> Result<Sum, Failure> {
        self.sum(&format!("{{host=\"{}\"}}", server::host(work, host * work.together)), 0..u64::MAX)
    }

    fn scan(&mut self, _: &Work) -> Result<Sum, Failure> {
        self.sum("{__name__!=\"\"}", 0..u64::MAX)
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.id())
    }
}
