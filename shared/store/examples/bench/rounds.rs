//! Rounds of all stages, and the table that comes of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::Failure;
use crate::lines::LINES;
use crate::stages::{EVEN_LINES_WORD, LINES_WORD};
use crate::targets::TARGETS;
use crate::work::{Kind, Work};

/// What the stages have said.
#[derive(Default)]
struct Figures {
    /// Of each figure the values of all rounds, sorted.
    all: BTreeMap<String, Vec<f64>>,
    /// And the last one.
    newest: BTreeMap<String, f64>,
}

/// What is measured, in the order in which it is.
const WORKS: &[&str] = &[
    "long",
    "small",
    "wide",
    "nab",
    LINES_WORD,
    "sync",
    "series",
    "killed",
    "node",
    "keep",
    "many",
    "rings",
    "million",
    "sustained",
];
/// Those that are measured in the first round only, where nobody names them: their figures move little, or cost much.
const ONCE: &[&str] = &["node", "keep", "many", "rings", "million", "sustained"];
/// How much of a work there is without `--long`.
const MILLION_SHARE: f64 = 0.2;
const SUSTAINED_SHARE: f64 = 0.1;

struct Options {
    rounds: usize,
    works: Option<Vec<String>>,
    long: bool,
    file: Option<PathBuf>,
    dir: PathBuf,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options, Failure> {
        let mut options =
            Options { rounds: 3, works: None, long: false, file: None, dir: std::env::temp_dir() };
        let mut args = args.iter();
        while let Some(name) = args.next() {
            if name == "--long" {
                options.long = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--rounds" => options.rounds = value.parse()?,
                "--works" => options.works = Some(value.split(',').map(str::to_owned).collect()),
                "--nab" => options.file = Some(value.into()),
                "--dir" => options.dir = value.into(),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        let unknown = |work: &&String| !WORKS.contains(&work.as_str());
        if let Some(work) = options.works.iter().flatten().find(unknown) {
            return Err(format!("--works: there is no {work}, but {}", WORKS.join(", ")).into());
        }
        if options.file.is_none() && options.works.iter().flatten().any(|work| work == "nab") {
            return Err("--works nab needs a --nab FILE".into());
        }
        Ok(options)
    }

    fn works(&self, round: usize) -> Vec<&'static str> {
        let taken = |work: &&str| match &self.works {
            Some(works) => works.iter().any(|named| named == work),
            None => (*work != "nab" || self.file.is_some()) && (round == 0 || !ONCE.contains(work)),
        };
        WORKS.iter().copied().filter(taken).collect()
    }

    /// How much of a work there is; `short` is what it is without `--long`.
    fn share(&self, short: f64) -> f64 {
        if self.long { 1.0 } else { short }
    }
}

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let options = Options::parse(args)?;
    let (mut figures, begun, rounds) = (Figures::default(), Instant::now(), options.rounds.max(1));
    for round in 0..rounds {
        for work in options.works(round) {
            let begun = Instant::now();
            measure(&options, work, &mut figures)?;
            let spent = begun.elapsed().as_secs_f64();
            eprintln!("{work}, round {} of {rounds}: {spent:.0} s", round + 1);
        }
    }
    print(&figures, &options);
    println!("# {rounds} rounds in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn measure(options: &Options, work: &str, figures: &mut Figures) -> Result<(), Failure> {
    let temporary = || tempfile::Builder::new().prefix("dotter-bench-").tempdir_in(&options.dir);
    let dir = temporary()?;
    let mut at = At { dir: dir.path(), file: options.file.as_deref(), share: 1.0, figures };
    match work {
        "small" => at.stage("write", work),
        "long" | "wide" | "nab" => at.kept(work),
        LINES_WORD => {
            at.kept(work)?;
            let dir = temporary()?;
            At { dir: dir.path(), ..at }.sized(EVEN_LINES_WORD)
        }
        "node" => {
            at.kept(Kind::Node.word())?;
            let dir = temporary()?;
            At { dir: dir.path(), ..at }.kept(Kind::NodeLate.word())
        }
        "killed" => {
            kill_with_a_full_log(at.dir)?;
            at.stage("reopen", "-")
        }
        "rings" => {
            let dirs = [temporary()?, temporary()?];
            for (word, dir) in ["rings", "month"].into_iter().zip(&dirs) {
                at.dir = dir.path();
                at.stage("rings-fill", word)?;
                at.stage("rings-read", word)?;
            }
            Ok(())
        }
        "million" => {
            at.share = options.share(MILLION_SHARE);
            at.stage("grow", work)?;
            at.bytes(work)?;
            at.stage("open", work)?;
            let before = at.newest("million-open")?;
            at.stage("delete", work)?;
            at.stage("open-deleted", work)?;
            let more = at.newest("million-open-deleted")? - before;
            note(at.figures, "million-deletes-more", more);
            let dir = temporary()?;
            at.dir = dir.path();
            at.stage("grow", Kind::Few.word())?;
            for (figure, of) in [("million-times", "all"), ("million-worked-times", "worked")] {
                let times = at.newest(&format!("million-{of}"))? / at.newest(&format!("few-{of}"))?;
                note(at.figures, figure, times);
            }
            Ok(())
        }
        "sustained" => {
            at.share = options.share(SUSTAINED_SHARE);
            at.stage("grow", work)
        }
        alone => at.stage(alone, "-"),
    }
}

/// Fills a log that nobody seals, and kills who filled it.
fn kill_with_a_full_log(dir: &Path) -> Result<(), Failure> {
    let mut child = spawn("fill", "-", 1.0, dir, None)?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("the child has an output")?).read_line(&mut line)?;
    child.kill()?;
    child.wait()?;
    if line.trim() == "full" { Ok(()) } else { Err("the log was not filled".into()) }
}

fn spawn(stage: &str, work: &str, share: f64, dir: &Path, file: Option<&Path>) -> Result<Child, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--stage", stage, work, &share.to_string()]).arg(dir).arg(file.unwrap_or(Path::new("")));
    Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
}

/// One store, and where its figures go.
struct At<'a> {
    dir: &'a Path,
    file: Option<&'a Path>,
    /// How much of a workload there is.
    share: f64,
    figures: &'a mut Figures,
}

impl At<'_> {
    /// Writes, compacts and reads a workload.
    fn kept(&mut self, work: &str) -> Result<(), Failure> {
        self.sized(work)?;
        self.stage("read", work)
    }

    /// Writes and compacts a workload.
    fn sized(&mut self, work: &str) -> Result<(), Failure> {
        self.stage("write", work)?;
        self.stage("compact", work)?;
        self.bytes(work)
    }

    /// Notes what the files of a workload take, a dot or line.
    fn bytes(&mut self, work: &str) -> Result<(), Failure> {
        let items = match Kind::find(work) {
            Some(kind) => Work::new(kind, self.share, self.file)?.dots(),
            None => LINES,
        };
        note(self.figures, &format!("{work}-bytes"), disk_bytes(self.dir)? as f64 / items as f64);
        Ok(())
    }

    /// Runs a stage on files that are not in the page cache, as far as that can be asked for, and notes what it says.
    fn stage(&mut self, stage: &str, work: &str) -> Result<(), Failure> {
        for path in files(self.dir)? {
            let file = File::open(path)?;
            file.sync_all()?;
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        }
        let mut child = spawn(stage, work, self.share, self.dir, self.file)?;
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
        let told = std::io::read_to_string(child.stdout.take().ok_or("the child has an output")?)?;
        for line in told.lines() {
            let (word, value) = line.split_once(' ').ok_or("a stage says a word and a number")?;
            note(self.figures, word, value.parse()?);
            self.figures.newest.insert(word.to_owned(), value.parse()?);
        }
        if (stage, work) == ("compact", Kind::Wide.word()) {
            note(self.figures, "compact-memory", own);
        }
        Ok(())
    }

    /// What this round's stage has said.
    fn newest(&self, word: &str) -> Result<f64, Failure> {
        Ok(*self.figures.newest.get(word).ok_or_else(|| format!("no stage has said {word}"))?)
    }
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

/// The bytes of all files but the list: that one holds edits until they have come to 64 KiB more than what it says,
/// twice, however few dots there are.
fn disk_bytes(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for file in files(dir)? {
        if !file.file_name().unwrap_or_default().to_string_lossy().starts_with("MANIFEST") {
            let meta = file.metadata()?;
            // Neither what is reserved and not written nor the rest of a last block.
            bytes += meta.len().min(meta.blocks() * 512);
        }
    }
    Ok(bytes)
}

fn note(figures: &mut Figures, word: &str, value: f64) {
    let values = figures.all.entry(word.to_owned()).or_default();
    values.insert(values.partition_point(|other| *other < value), value);
}

fn print(figures: &Figures, options: &Options) {
    let thousands = |share: f64| (options.share(share) * 1e3).round();
    let series = format!("{} k", thousands(MILLION_SHARE));
    let dots = format!("{} M", thousands(SUSTAINED_SHARE));
    println!("{:<66} {:>9} {:>9} {:>9}  {:>8}", "what", "min", "median", "max", "target");
    for target in TARGETS {
        let Some(values) = figures.all.get(target.word) else { continue };
        let median = values[values.len() / 2];
        let (limit, verdict) = match target.limit {
            Some(limit) => (limit.text(), if limit.is_kept(median) { "ok" } else { "missed" }),
            None => (String::new(), ""),
        };
        let title = target.title.replace("{series}", &series).replace("{dots}", &dots);
        let [least, median, most] = [values[0], median, values[values.len() - 1]].map(short);
        println!("{title:<66} {least:>9} {median:>9} {most:>9}  {limit:>8}  {verdict}");
    }
}

/// Three digits.
fn short(value: f64) -> String {
    let whole = value.abs().max(1e-6).log10().floor() as i32;
    let digits = (2 - whole).clamp(0, 6) as usize;
    format!("{value:.digits$}")
}
