//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

const AFTER: &str = "\
Examples:
  dotter-displayer --data /var/lib/dotter
  dotter-displayer --data store --listen 127.0.0.1:9090

The store is read straight from its files; nothing is asked of the collector. Where there is no store yet, the \
displayer waits for one. An address others can reach needs a token, which every request then carries as \
'Authorization: Bearer ...'; DOTTER_TOKEN may hold it instead of a file.";

/// Live plots in a browser and answers for Graphite clients, straight from the store's files.
#[derive(Clone, Debug, Parser)]
#[command(name = "dotter-displayer", version = version(), after_help = AFTER)]
pub struct Args {
    /// Directory of the store
    #[arg(long, value_name = "DIR", env = "DOTTER_DATA")]
    pub data: PathBuf,

    /// Address to serve on
    #[arg(long, value_name = "ADDRESS", env = "DOTTER_DISPLAYER_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Host name to answer to, besides localhost and the address itself; may be repeated
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,

    /// File with the token that requests must carry; nobody else may be able to read it
    #[arg(long, value_name = "FILE", env = "DOTTER_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

/// The version, and which page is inside.
fn version() -> &'static str {
    match crate::PAGE_KIND {
        "bundled" => concat!(env!("CARGO_PKG_VERSION"), " (page: live plots)"),
        "prebuilt" => concat!(env!("CARGO_PKG_VERSION"), " (page: live plots, bundled beforehand)"),
        _ => concat!(env!("CARGO_PKG_VERSION"), " (page: pictures drawn by the server)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        let args = Args::parse_from(["dotter-displayer", "--data", "store", "--host", "a", "--host", "b"]);
        assert_eq!(args.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(args.hosts, ["a", "b"]);
    }
}
