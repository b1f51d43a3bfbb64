//! `dotter-publisher`: reads its arguments, calls the library, prints the error.

mod args;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    dotter_daemon::exit_code("dotter-publisher", dotter_publisher_cli::run(args::Args::parse().task()))
}
