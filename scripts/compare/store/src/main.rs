//! What it costs to keep dots and to read them again: Dotter's store beside what would be used instead.
//!
//! Everything is measured in one run and in turns, so that what disturbs the machine disturbs all alike; each turn is
//! a process of its own. What each number includes, and what cannot be compared, says README.md.

mod child;
mod dotter;
mod engine;
mod figure;
mod file;
mod fjall;
#[allow(dead_code)]
#[path = "../../../../shared/store/examples/bench/intake.rs"]
mod intake;
#[allow(dead_code)]
#[path = "../../../../shared/store/examples/bench/lines.rs"]
mod lines;
mod lmdb;
#[path = "../../../../shared/store/examples/bench/node.rs"]
mod node;
mod nothing;
mod prometheus;
mod redb;
mod rows;
mod server;
mod sonnerie;
mod sqlite;
mod turns;
mod victoria;
mod whisper;
#[allow(dead_code)]
#[path = "../../../../shared/store/examples/bench/work.rs"]
mod work;

use std::error::Error;
use std::process::ExitCode;

/// Whatever went wrong: it ends the program.
type Failure = Box<dyn Error>;

const USAGE: &str = "\
Usage: dotter-compare-store [--rounds N] [--works WORD,...] [--engines WORD,...] [--nab FILE] [--dir DIR]

Prints what it costs to keep dots and to read them again, in N (3) rounds of all engines: medians, how many times
Dotter's they are, least and most.

  --works    long, small, wide, nab, node, node-late, million, lines (all of them; nab only with a FILE)
  --engines  dotter, sonnerie, sqlite, lmdb, redb, fjall, victoria, prometheus, whisper, file, nothing (all of them;
             servers and Whisper only where they are installed)
  --nab      gzipped text, `series time value` a line, times as 2014-04-01T00:00:00
  --dir      where the stores are made, and removed (the temporary directory): on the disk that is to be measured

Exit status: 0 done, 1 failed, 2 wrong usage.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((first, rest)) if first == "--child" => child::run(rest),
        Some((first, _)) if first == "--help" || first == "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => match turns::Options::parse(&args) {
            Ok(options) => turns::run(&options),
            Err(error) => {
                eprintln!("dotter-compare-store: {error}\n\n{USAGE}");
                return ExitCode::from(2);
            }
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            eprintln!("dotter-compare-store: {text}");
            ExitCode::FAILURE
        }
    }
}
