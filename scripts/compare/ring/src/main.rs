//! What it costs an application to publish a number: Dotter beside what would be used instead.
//!
//! Everything is measured in one process and in turns, so that what disturbs the machine disturbs all
//! alike. What each number includes, and what cannot be compared, says README.md.

mod counters;
mod dotter;
mod iceoryx;
mod measure;
mod queues;
mod server;
mod statsd;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use measure::{Row, black_box, repeat, timed};

const USAGE: &str = "\
Usage: dotter-compare-ring [ROUNDS]

Prints what publishing a number costs the thread that publishes it, in nanoseconds: least, median and most of ROUNDS
(101) runs, and the median in units of two of Dotter's own. Rings, sockets and servers are made in a temporary
directory and gone at the end, but for 16 bytes that iceoryx2 keeps in /dev/shm. A redis-server is started where one
is installed.

Exit status: 0 done, 1 failed, 2 wrong usage.";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let rounds = match (args.next(), args.next()) {
        (None, _) => 101,
        (Some(help), None) if help == "--help" || help == "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        (Some(rounds), None) if rounds.parse().is_ok_and(|rounds: usize| (1..=100_000).contains(&rounds)) => {
            rounds.parse().expect("it was just parsed")
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            eprintln!("dotter-compare-ring: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(rounds: usize) -> Result<(), Box<dyn Error>> {
    // In memory, where rings are by default; the same directory for everything that has a file.
    let shm = std::path::Path::new("/dev/shm");
    let dir = if shm.is_dir() { tempfile::tempdir_in(shm)? } else { tempfile::tempdir()? };
    let mut rows = vec![Row::new("clock_gettime (SystemTime::now)", "nothing but the clock", || {
        timed(|| {
            repeat(|_| {
                black_box(SystemTime::now());
            });
        })
    })];
    let seen = Arc::default();
    rows.extend(dotter::rows(dir.path(), &seen)?);
    rows.extend(queues::rows());
    rows.extend(iceoryx::rows(dir.path())?);
    rows.extend(counters::rows()?);
    rows.extend(statsd::rows()?);
    match server::rows(dir.path())? {
        Some(server) => rows.extend(server),
        None => eprintln!("redis: left out, there is no redis-server here (apt-get install redis-server)"),
    }
    measure::take_turns(&mut rows, rounds);
    measure::print(&mut rows, [dotter::DOT_AT, dotter::DOT]);
    // A reader that saw nothing would have disturbed nobody.
    let seen = *seen.lock().map_err(|_| "the reader of the ring panicked")?;
    println!(
        "# the reader of the ring saw {} dots, {} of them while they were being written, and lost {}",
        seen.dots, seen.live, seen.lost
    );
    Ok(())
}
