//! Rounds of all stages, and the table that comes of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::Failure;
use crate::lines::LINES;
use crate::targets::TARGETS;
use crate::work::{Kind, Work};

type Figures = BTreeMap<String, Vec<f64>>;

struct Options {
    rounds: usize,
    file: Option<PathBuf>,
    dir: PathBuf,
}

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let mut options = Options { rounds: 3, file: None, dir: std::env::temp_dir() };
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--rounds" => options.rounds = value.parse()?,
            "--nab" => options.file = Some(value.into()),
            "--dir" => options.dir = value.into(),
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    let (mut figures, begun) = (Figures::new(), Instant::now());
    for _ in 0..options.rounds.max(1) {
        round(&options, &mut figures)?;
    }
    print(&figures);
    println!("# {} rounds in {:.0} s", options.rounds.max(1), begun.elapsed().as_secs_f64());
    Ok(())
}

fn round(options: &Options, figures: &mut Figures) -> Result<(), Failure> {
    let temporary = || tempfile::Builder::new().prefix("dotter-bench-").tempdir_in(&options.dir);
    let file = options.file.as_deref();
    for kind in [Kind::Long, Kind::Small, Kind::Wide, Kind::Real] {
        if kind == Kind::Real && file.is_none() {
            continue;
        }
        let dir = temporary()?;
        stage("write", kind.word(), dir.path(), file, figures)?;
        if kind == Kind::Small {
            continue;
        }
        stage("compact", kind.word(), dir.path(), file, figures)?;
        let bytes = disk_bytes(dir.path())? as f64 / Work::new(kind, 1.0, file)?.dots() as f64;
        note(figures, &format!("{}-bytes", kind.word()), bytes);
        stage("read", kind.word(), dir.path(), file, figures)?;
    }
    let dir = temporary()?;
    stage("write", "lines", dir.path(), file, figures)?;
    stage("compact", "lines", dir.path(), file, figures)?;
    note(figures, "lines-bytes", disk_bytes(dir.path())? as f64 / LINES as f64);
    stage("read", "lines", dir.path(), file, figures)?;
    let dir = temporary()?;
    stage("sync", "-", dir.path(), file, figures)?;
    let dir = temporary()?;
    stage("many", "-", temporary()?.path(), file, figures)?;
    stage("series", "-", dir.path(), file, figures)?;
    let dir = temporary()?;
    kill_with_a_full_log(dir.path())?;
    stage("reopen", "-", dir.path(), file, figures)
}

/// Fills a log that nobody seals, and kills who filled it.
fn kill_with_a_full_log(dir: &Path) -> Result<(), Failure> {
    let mut child = spawn("fill", "-", dir, None)?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("the child has an output")?).read_line(&mut line)?;
    child.kill()?;
    child.wait()?;
    if line.trim() == "full" { Ok(()) } else { Err("the log was not filled".into()) }
}

fn spawn(stage: &str, work: &str, dir: &Path, file: Option<&Path>) -> Result<Child, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--stage", stage, work]).arg(dir).arg(file.unwrap_or(Path::new("")));
    Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
}

/// Runs a stage on files that are not in the page cache, as far as that can be asked for, and notes what it says.
fn stage(
    stage: &str,
    work: &str,
    dir: &Path,
    file: Option<&Path>,
    figures: &mut Figures,
) -> Result<(), Failure> {
    for path in files(dir)? {
        let file = File::open(path)?;
        file.sync_all()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    let mut child = spawn(stage, work, dir, file)?;
    let (id, mut own) = (child.id(), 0.0_f64);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        own = own.max(own_memory(id).unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(2));
    };
    if !status.success() {
        return Err(format!("{stage} {work} ended with {status}").into());
    }
    for line in std::io::read_to_string(child.stdout.take().ok_or("the child has an output")?)?.lines() {
        let (word, value) = line.split_once(' ').ok_or("a stage says a word and a number")?;
        note(figures, word, value.parse()?);
    }
    if (stage, work) == ("compact", Kind::Wide.word()) {
        note(figures, "compact-memory", own);
    }
    Ok(())
}

/// Memory of a process that is not pages of files, in MB.
fn own_memory(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .ok()?;
    Some(kib * 1024.0 / 1e6)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { dirs.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    Ok(files)
}

fn disk_bytes(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for file in files(dir)? {
        let (name, file) = (file.file_name().unwrap_or_default().to_owned(), File::open(file)?);
        let meta = file.metadata()?;
        // Neither what is reserved and not written nor the rest of a last block.
        let written = meta.len().min(meta.blocks() * 512);
        bytes += if name.to_string_lossy().starts_with("MANIFEST") && written > 4096 {
            // The room behind the edits is reserved: its length stands in the header (FORMAT.md, "Log").
            let mut published = [0; 8];
            file.read_exact_at(&mut published, 512)?;
            u64::from_le_bytes(published)
        } else {
            written
        };
    }
    Ok(bytes)
}

fn note(figures: &mut Figures, word: &str, value: f64) {
    let values = figures.entry(word.to_owned()).or_default();
    values.insert(values.partition_point(|other| *other < value), value);
}

fn print(figures: &Figures) {
    println!("{:<66} {:>9} {:>9} {:>9}  {:>8}", "what", "min", "median", "max", "target");
    for target in TARGETS {
        let Some(values) = figures.get(target.word) else { continue };
        let median = values[values.len() / 2];
        let (limit, verdict) = match target.limit {
            Some(limit) => (limit.text(), if limit.is_kept(median) { "ok" } else { "missed" }),
            None => (String::new(), ""),
        };
        let [least, median, most] = [values[0], median, values[values.len() - 1]].map(short);
        println!("{:<66} {least:>9} {median:>9} {most:>9}  {limit:>8}  {verdict}", target.title);
    }
}

/// Three digits.
fn short(value: f64) -> String {
    let whole = value.abs().max(1e-6).log10().floor() as i32;
    let digits = (2 - whole).clamp(0, 6) as usize;
    format!("{value:.digits$}")
}
