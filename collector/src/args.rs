//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use dotter_collector::{Error, Options};
use dotter_daemon::{bytes_arg, store_bytes_arg};
use dotter_http::Token;

const EXAMPLES: &str = "\
Examples:
  dotter-collector --data /var/lib/dotter
  dotter-collector --data store --listen 127.0.0.1:9000 --graphite off
  dotter-collector --data store --listen 0.0.0.0:8000 --host collector --token-file token
  curl -d '[[1710504000, 21.5]]' 'http://127.0.0.1:8000/data?series=room.temperature'
  curl 'http://127.0.0.1:8000/data?series=room.temperature&last=10'
  curl 'http://127.0.0.1:8000/data?series=room.temperature&from=2024-03-15T12:00:00Z'
  echo \"room.temperature 21.5 $(date +%s)\" | nc -N 127.0.0.1 2003

A status of 200 means that what was posted is on the disk; it may be posted again, and is stored once. Brokers \
post to /data. GET /data gives all dots from 'from' until 'until' (seconds since 1970 or RFC 3339), up to 200000; \
where only 'series' is named the newest 500, and with 'last' the newest so many: where older ones are left out, a \
header X-Dotter-Cut says so. GET /store/KEY gives lines of any length. A parameter that is not known is refused. \
Health is at /-/healthy and /-/ready, numbers for Prometheus are at /metrics. An address others can reach needs a \
token. Where one is set, every request carries it as 'Authorization: Bearer ...', requests that read too; only \
/-/healthy, /-/ready and DIR/collector.sock do without. DOTTER_TOKEN may hold it instead of a file. Graphite lines \
carry none: let their port be reached by those alone who may write.

Exit status: 0 done or asked to stop, 1 failed, 2 wrong usage.";

/// Takes batches, JSON and Graphite lines, and keeps them in a store on disk.
#[derive(Debug, Parser)]
#[command(name = "dotter-collector", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Directory of the store; made where it is not there yet
    #[arg(long, value_name = "DIR", env = "DOTTER_DATA")]
    data: PathBuf,

    /// Address to serve on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", env = "DOTTER_COLLECTOR_LISTEN", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,

    /// Address to take Graphite lines on, or 'off'
    #[arg(long, value_name = "ADDRESS", env = "DOTTER_COLLECTOR_GRAPHITE", default_value = "127.0.0.1:2003")]
    #[arg(value_parser = graphite)]
    graphite: Lines,

    /// Graphite connections open at once; further ones wait until one ends, or has been silent for a minute. The
    /// limit on open files may allow fewer
    #[arg(
        long,
        value_name = "COUNT",
        env = "DOTTER_COLLECTOR_MAX_GRAPHITE_CONNECTIONS",
        default_value_t = 1024
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_graphite_connections: u32,

    /// File with the token that every request must carry; nobody else may be able to read it
    #[arg(long, value_name = "FILE", env = "DOTTER_TOKEN_FILE")]
    token_file: Option<PathBuf>,

    /// Host name to answer to, besides localhost and the address itself; may be repeated
    #[arg(long = "host", value_name = "NAME", env = "DOTTER_COLLECTOR_HOST", value_delimiter = ',')]
    hosts: Vec<String>,

    /// Longest body of a request, such as 4MB or 512KiB
    #[arg(long, value_name = "SIZE", env = "DOTTER_COLLECTOR_MAX_BODY", default_value = "4MB")]
    #[arg(value_parser = body_bytes)]
    max_body: usize,

    /// New series taken from one start to the next; dots of any further one are refused. Series that the store has do
    /// not count
    #[arg(long, value_name = "COUNT", env = "DOTTER_COLLECTOR_MAX_SERIES", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    max_series: u32,

    /// Percent of the file system, from 0 to 50, that are kept free: while less is free, what would add rows is answered
    /// 507. 0 for none
    #[arg(long, value_name = "PERCENT", env = "DOTTER_COLLECTOR_DISK_RESERVE", default_value = "5")]
    #[arg(value_parser = percent)]
    disk_reserve: f64,

    /// Bytes that the store may have, such as 500M, 20G or 1TiB: above that its oldest windows go. Without it, as many
    /// as come
    #[arg(long, value_name = "SIZE", env = "DOTTER_COLLECTOR_MAX_BYTES")]
    #[arg(value_parser = store_bytes_arg)]
    max_bytes: Option<u64>,
}

/// Where lines are taken, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    Off,
    At(SocketAddr),
}

impl Args {
    pub(crate) fn options(self) -> Result<Options, Error> {
        let secret = dotter_daemon::token(self.token_file.as_deref()).map_err(Error::Token)?;
        let token = secret.map(|secret| Token::from_env_value(secret.as_str())).transpose()?;
        Ok(Options {
            listen: self.listen,
            graphite: match self.graphite {
                Lines::Off => None,
                Lines::At(addr) => Some(addr),
            },
            graphite_connections_max: self.max_graphite_connections as usize,
            token,
            hosts: self.hosts,
            body_bytes_max: self.max_body,
            series_max: self.max_series as usize,
            disk_reserve_percent: self.disk_reserve,
            max_bytes: self.max_bytes,
            ..Options::new(self.data)
        })
    }
}

fn graphite(text: &str) -> Result<Lines, String> {
    if text == "off" {
        return Ok(Lines::Off);
    }
    let wrong = |_| format!("'{text}' is neither an address such as 127.0.0.1:2003 nor 'off'");
    text.parse().map(Lines::At).map_err(wrong)
}

/// From a kilobyte to what the front door may hold for one client.
fn body_bytes(text: &str) -> Result<usize, String> {
    let bytes = bytes_arg(text).filter(|bytes| (1000..=64 << 20).contains(bytes));
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| format!("'{text}' is no size from 1KB to 64MiB, such as 4MB or 512KiB"))
}

/// From 0 to 50, with or without digits behind a point.
fn percent(text: &str) -> Result<f64, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent = text.parse().ok().filter(|percent| is_plain && (0.0..=50.0).contains(percent));
    percent.ok_or_else(|| format!("'{text}' is no percentage from 0 to 50, such as 5 or 0.5"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("dotter-collector").chain(args.iter().copied()))
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        Args::command().debug_assert();
        let options = parse(&["--data", "store"]).unwrap().options().unwrap();
        assert_eq!(format!("{options:?}"), format!("{:?}", Options::new("store")));
    }

    #[test]
    fn sizes_and_addresses_are_read() {
        for (text, bytes) in
            [("4MB", 4_000_000), ("4MiB", 4 << 20), ("512KiB", 512 << 10), ("1000", 1000), ("2 M", 2_000_000)]
        {
            assert_eq!(body_bytes(text), Ok(bytes), "{text}");
        }
        for (text, bytes) in
            [("20G", 20_000_000_000), ("500M", 500_000_000), ("1TiB", 1 << 40), ("1M", 1_000_000)]
        {
            assert_eq!(store_bytes_arg(text), Ok(bytes), "{text}");
        }
        for (text, expected) in [("0", 0.0), ("5", 5.0), ("0.5", 0.5), ("50", 50.0)] {
            assert_eq!(percent(text), Ok(expected), "{text}");
        }
        let wrong = percent("5 %").unwrap_err();
        assert_eq!(wrong, "'5 %' is no percentage from 0 to 50, such as 5 or 0.5");
        let wrong = store_bytes_arg("20 gigs").unwrap_err();
        assert!(wrong.starts_with("'20 gigs' is no size from 1M on, such as 500M, 20G"), "{wrong}");
        assert_eq!(graphite("off"), Ok(Lines::Off));
        assert_eq!(graphite("[::1]:0"), Ok(Lines::At("[::1]:0".parse().unwrap())));
        let args = parse(&["--data", "d", "--host", "a", "--host", "b,c"]).unwrap();
        assert_eq!(args.hosts, ["a", "b", "c"]);
    }

    #[test]
    fn bad_arguments_are_wrong_usage() {
        for args in [
            &[][..],
            &["--data"],
            &["--data", "d", "--listen", "8000"],
            &["--data", "d", "--graphite", "on"],
            &["--data", "d", "--max-body", "1"],
            &["--data", "d", "--max-body", "65MiB"],
            &["--data", "d", "--max-body", "99999999999999999999MB"],
            &["--data", "d", "--disk-reserve", "50.1"],
            &["--data", "d", "--disk-reserve", "-0"],
            &["--data", "d", "--disk-reserve", "nan"],
            &["--data", "d", "--disk-reserve", ""],
            &["--data", "d", "--max-bytes", "0"],
            &["--data", "d", "--max-bytes", "999999"],
            &["--data", "d", "--max-bytes", "-1G"],
            &["--data", "d", "--max-bytes", "99999999T"],
            &["--data", "d", "--max-series", "0"],
            &["--data", "d", "--max-series", "-1"],
            &["--data", "d", "--max-graphite-connections", "0"],
            &["--data", "d", "more"],
        ] {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }
}
