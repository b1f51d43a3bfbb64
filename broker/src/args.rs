//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use dotter_broker::{Error, Options, TimeUnit, host_name};
use dotter_daemon::duration_arg;

const EXAMPLES: &str = "\
Examples:
  dotter-broker                                  every ring of the default directory
  dotter-broker /run/dotter 0.1 http://collector:8000/data
  dotter-broker app.dots 1s                      one ring, once a second
  dotter-broker --once app.dots                  post what is there, then leave

The broker keeps no state: it asks the collector what it has, and reads the rings from there. A ring whose process \
has ended is removed once the collector has all of it. One broker reads a directory; a second one refuses to start, \
for the directory as for a ring in it. Brokers that are each given the exact name of another ring may run together.

Exit status: 0 done or asked to stop, 1 failed, 2 wrong usage.";

/// Reads rings and posts their dots to a collector.
#[derive(Debug, Parser)]
#[command(name = "dotter-broker", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A ring file, or a directory of rings; waits for it where it is not there yet [default: $DOTTER_DIR,
    /// /run/dotter or /dev/shm/dotter-UID]
    #[arg(env = "DOTTER_BROKER_PATH")]
    path: Option<PathBuf>,

    /// Time between two looks at the rings, in seconds; shorter by itself while they fill fast
    #[arg(env = "DOTTER_BROKER_POLL", default_value = "0.1", value_parser = poll)]
    poll: Duration,

    /// Where the collector takes batches
    #[arg(env = "DOTTER_BROKER_URL", default_value = "http://127.0.0.1:8000/data", value_parser = url)]
    url: String,

    /// How finely the clock's stamps are kept: ns, us, ms or s; times that an application gave stay as they are
    #[arg(long, env = "DOTTER_BROKER_TIME_UNIT", default_value = "us")]
    time_unit: TimeUnit,

    /// Post what is there and leave when all of it is acknowledged
    #[arg(long, env = "DOTTER_BROKER_ONCE")]
    once: bool,

    /// Who posts, as the collector sees it [default: the name of this machine]
    #[arg(long, env = "DOTTER_BROKER_NAME", value_parser = name)]
    name: Option<String>,

    /// A file that holds the collector's token, readable by its owner alone; without it $DOTTER_TOKEN is used
    #[arg(long, env = "DOTTER_BROKER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Args {
    pub(crate) fn options(self) -> Result<Options, Error> {
        let token = dotter_daemon::token(self.token_file.as_deref()).map_err(Error::Token)?;
        Ok(Options {
            path: self.path,
            poll: self.poll,
            url: self.url,
            name: self.name.unwrap_or_else(host_name),
            time_unit: self.time_unit,
            once: self.once,
            token,
        })
    }
}

fn poll(text: &str) -> Result<Duration, String> {
    let poll = duration_arg(text)?;
    let (least, most) = (Duration::from_millis(1), Duration::from_secs(3600));
    match (least..=most).contains(&poll) {
        true => Ok(poll),
        false => Err(format!("'{text}' is not between 1ms and 1h")),
    }
}

fn url(text: &str) -> Result<String, String> {
    let schemes: &[&str] = if cfg!(feature = "tls") { &["http://", "https://"] } else { &["http://"] };
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)).ok_or_else(|| {
        format!("'{text}' does not begin with {}: this build speaks nothing else", schemes.join(" or "))
    })?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains('@') || text.parse::<ureq::http::Uri>().is_err() {
        return Err(format!("'{text}' is no URL of the form http://host:port/data"));
    }
    Ok(text.to_owned())
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return Err(format!("'{}' is not 1 to 255 bytes without control characters", text.escape_debug()));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("dotter-broker").chain(args.iter().copied()))
    }

    #[test]
    fn the_three_positions_have_their_defaults() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.path, None);
        assert_eq!(args.poll, Duration::from_millis(100));
        assert_eq!(args.url, "http://127.0.0.1:8000/data");
        let args = parse(&["app.dots", "2", "http://[::1]:9/data", "--once"]).unwrap();
        assert_eq!((args.poll, args.once), (Duration::from_secs(2), true));
    }

    #[test]
    fn bad_arguments_are_wrong_usage() {
        for args in [
            &["x", "0"][..],
            &["x", "-1"],
            &["x", "1y"],
            &["x", "1", "collector:8000"],
            &["x", "1", "http://"],
            &["x", "1", "http:///data"],
            &["x", "1", "http://a b/"],
            &["x", "1", "http://user:secret@host/"],
            &["x", "1", "http://h/", "more"],
            &["--name", ""],
            &["--name", "a\nb"],
        ] {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }
}
