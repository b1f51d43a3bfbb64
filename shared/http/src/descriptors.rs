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
    let wanted = (config.connections_max + config.streams_max) as u64;
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
    // Streams get at most a quarter when it is tight: those who ask once come before those who stay.
    let left = usable.saturating_sub(config.connections_max as u64);
    let streams = (config.streams_max as u64).min(left.max(usable / 4));
    let connections = (config.connections_max as u64).min(usable - streams);
    Ok(Caps { connections: connections as usize, streams: streams as usize })
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
        assert_eq!(fit(&config, 20_000).unwrap(), Caps { connections: 512, streams: 200 });
        assert_eq!(fit(&config, 1024).unwrap(), Caps { connections: 345, streams: 115 });
        let enough = 2 * (own(&config) + 712) + RESERVED;
        assert_eq!(fit(&config, enough).unwrap(), Caps { connections: 512, streams: 200 });
        assert_eq!(fit(&config, enough - 2).unwrap(), Caps { connections: 512, streams: 199 });
        assert!(matches!(fit(&config, 128), Err(Error::Descriptors { found: 128, expected: 136 })));
        assert!(fit(&config, 136).is_ok());
    }
}
