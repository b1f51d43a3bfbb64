//! What a head is held against: the hosts answered, the token, the limits.

use std::net::IpAddr;

use crate::{Config, Error, Token};

/// What a head is held against.
#[derive(Debug)]
pub(crate) struct Rules {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    pub(crate) token: Option<Token>,
    pub(crate) token_for_reads: bool,
    pub(crate) open_reads: Vec<String>,
    pub(crate) reading_posts: Vec<String>,
    pub(crate) head_bytes_max: usize,
    pub(crate) body_bytes_max: usize,
}

impl Rules {
    pub(crate) fn new(config: &Config) -> Result<Rules, Error> {
        let mut names = vec!["localhost".to_owned()];
        let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        if !config.listen.ip().is_unspecified() {
            addresses.push(config.listen.ip().to_canonical());
        }
        for name in &config.hosts {
            match (name.parse().ok(), Host::parse(name)) {
                (Some(address), _) | (_, Some(Host::Address(address))) => addresses.push(address),
                (_, Some(Host::Name(plain))) if !name.contains(':') => names.push(plain),
                _ => return Err(Error::HostName { name: name.clone() }),
            }
        }
        Ok(Rules {
            names,
            addresses,
            token: config.token.clone(),
            token_for_reads: config.token_for_reads,
            open_reads: config.open_reads.clone(),
            reading_posts: config.reading_posts.clone(),
            head_bytes_max: config.head_bytes_max,
            body_bytes_max: config.body_bytes_max,
        })
    }

    /// Whether a `Host` names this server; `None` when it names nothing.
    ///
    /// - `local`: the address the client reached us at; answered too, as it cannot be made to name
    ///   another site's page (rebinding needs a name)
    pub(crate) fn answers(&self, host: &str, local: Option<IpAddr>) -> Option<bool> {
        Some(match Host::parse(host)? {
            Host::Name(name) => self.names.contains(&name),
            Host::Address(address) => self.addresses.contains(&address) || local == Some(address),
        })
    }

    /// Whether a page at this `Origin` is one of ours.
    pub(crate) fn own_origin(&self, origin: &str, local: Option<IpAddr>) -> bool {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.and_then(|host| self.answers(host, local)).unwrap_or(false)
    }
}

/// A `Host` without its port.
enum Host {
    Name(String),
    Address(IpAddr),
}

impl Host {
    fn parse(text: &str) -> Option<Host> {
        let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => {
                let address = address.parse().ok()?;
                (Host::Address(IpAddr::V6(address)), rest)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                let name = name.strip_suffix('.').unwrap_or(name);
                let known = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
                if name.is_empty() || name.len() > 253 || !name.bytes().all(known) {
                    return None;
                }
                let host = match name.parse() {
                    Ok(address) => Host::Address(IpAddr::V4(address)),
                    Err(_) => Host::Name(name.to_ascii_lowercase()),
                };
                (host, port)
            }
        };
        let port_is_number = |p: &str| p.len() <= 5 && p.bytes().all(|b| b.is_ascii_digit());
        (port.is_empty() || port.strip_prefix(':').is_some_and(port_is_number)).then_some(name)
    }
}
