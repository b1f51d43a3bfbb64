//! How many connections the open file limit leaves room for.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{Config, Error};

/// Left to the rest of the process: segments, WAL files, other sockets.
const RESERVED: u64 = 64;
/// Fewer connections than this and the door is not worth opening.
const CONNECTIONS_MIN: u64 = 16;

/// Upper bounds that the process can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caps {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    /// At other ports of the process.
    pub(crate) others: usize,
}

/// Raises the soft open file limit towards the hard one where the configured connections need it, and
/// lowers the caps to what is then possible.
///
/// # Errors
///
/// [`Error::Descriptors`] when not even a few connections fit.
pub(crate) fn caps(config: &Config) -> Result<Caps, Error> {
    let failed =
        |e: nix::Error| Error::Resources { what: "a place under the open file limit", source: e.into() };
    let (mut soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    let wanted = (config.connections_max + config.streams_max + config.others_max) as u64;
    // Half of the limit is for the rest of the process.
    let enough = 2 * (own(config) + wanted) + RESERVED;
    if soft < enough && soft < hard {
        let raised = enough.min(hard);
        // Not being allowed to is no error: the caps below follow from what is.
        if setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() {
            soft = raised;
        }
    }
    fit(config, soft)
}

fn fit(config: &Config, limit: u64) -> Result<Caps, Error> {
    let usable = (limit.saturating_sub(RESERVED) / 2).saturating_sub(own(config));
    if usable < CONNECTIONS_MIN {
        let expected = 2 * (own(config) + CONNECTIONS_MIN) + RESERVED;
        return Err(Error::Descriptors { found: limit, expected });
    }
    // Other ports leave the door three quarters when it is tight, and always the few that make it worth opening.
    let wanted = (config.connections_max + config.streams_max) as u64;
    let others = usable.saturating_sub(wanted).max(usable / 4).min(usable - CONNECTIONS_MIN).max(1);
    let others = others.min(config.others_max as u64);
    let usable = usable - others;
    // Streams get at most a quarter when it is tight: those who ask once come before those who stay.
    let left = usable.saturating_sub(config.connections_max as u64);
    let streams = (config.streams_max as u64).min(left.max(usable / 4));
    let connections = (config.connections_max as u64).min(usable - streams);
    Ok(Caps { connections: connections as usize, streams: streams as usize, others: others as usize })
}

/// Listener, wake-up pair, and per private connection our end and tiny_http's two.
fn own(config: &Config) -> u64 {
    8 + 3 * config.threads as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_limit_lowers_the_caps() {
        let config = Config::new("127.0.0.1:0".parse().unwrap());
        let check = |config: &Config, limit, connections, streams, others| {
            assert_eq!(fit(config, limit).unwrap(), Caps { connections, streams, others }, "{limit}");
        };
        check(&config, 20_000, 512, 200, 0);
        check(&config, 1024, 345, 115, 0);
        let enough = 2 * (own(&config) + 712) + RESERVED;
        check(&config, enough, 512, 200, 0);
        check(&config, enough - 2, 512, 199, 0);
        assert!(matches!(fit(&config, 128), Err(Error::Descriptors { found: 128, expected: 136 })));
        // Other ports take what the door leaves, and a quarter where it would leave less.
        let config = Config { others_max: 1000, ..config };
        check(&config, 20_000, 512, 200, 1000);
        check(&config, enough + 2 * 300, 512, 200, 300);
        check(&config, 1024, 259, 86, 115);
        check(&config, 300, 56, 18, 24);
        check(&config, 136, 12, 3, 1);
        assert!(fit(&config, 135).is_err());
        let config = Config { others_max: 0, ..config };
        assert!(fit(&config, 136).is_ok());
    }
}
