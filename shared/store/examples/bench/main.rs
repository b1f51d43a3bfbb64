//! The store's targets, measured: what `scripts/bench store` prints.
//!
//! `cargo run --release -p dotter-store --example bench -- [--rounds N] [--works WORD,...] [--long] [--nab FILE]
//! [--dir DIR]`
//!
//! Every store is filled, compacted and read in processes of its own, so that their memory can be told, that nothing
//! is in a cache of theirs, and that one of them can be killed. Everything that is read is compared with what was
//! written.

mod intake;
mod keep;
mod lines;
mod many;
mod node;
mod rings;
mod rounds;
mod scale;
mod stages;
mod targets;
#[allow(dead_code)]
mod work;

use std::error::Error;
use std::process::ExitCode;

/// Whatever went wrong: it ends the program.
type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((first, rest)) if first == "--stage" => stages::run(rest),
        _ => rounds::run(&args),
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
            eprintln!("bench: {text}");
            ExitCode::FAILURE
        }
    }
}
