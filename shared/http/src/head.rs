//! The check of a request head: what passes is strict, bounded and means one thing only.
//!
//! httparse reads the lines; everything it is generous about is refused here. What passes is written
//! anew for the private connection, so tiny_http only ever reads heads in the one form made below.
//!
//! Source: RFC 9112 (syntax, framing), RFC 9110 (methods, hop-by-hop fields); stricter where those allow
//! a choice, since no known client needs it.

use std::net::IpAddr;

use crate::Method;
use crate::query::decode_path;
use crate::rules::Rules;
use crate::socket::Via;

/// Header lines in one request.
const HEADERS_MAX: usize = 64;

/// On the private connection only: the client's address. Clients cannot send it.
pub(crate) const PEER_HEADER: &str = "X-Dotter-Peer";

/// A refusal the door answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// What was found, what was expected.
    pub(crate) why: &'static str,
}

const fn refuse<T>(status: u16, why: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, why })
}

/// The reason phrases of the statuses the door answers with.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

/// How many bytes of empty lines stand before a request line; some clients send one after a body.
pub(crate) fn empty_lines(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2
}

/// Where the head of the request at the start of `bytes` ends, as more of it arrives.
///
/// - `scanned`: bytes already looked at; kept between calls so that a head sent byte by byte costs no
///   more than one sent at once
///
/// `None` when the end is not here yet.
pub(crate) fn find_end(bytes: &[u8], scanned: &mut usize, rules: &Rules) -> Result<Option<usize>, Refusal> {
    if bytes == b"\r" {
        // Perhaps half an empty line.
        return Ok(None);
    }
    if bytes.first().is_some_and(|b| !b.is_ascii_uppercase()) {
        return refuse(400, "the request line does not start with a method");
    }
    let limit = bytes.len().min(rules.head_bytes_max);
    for at in *scanned..limit {
        if bytes[at] == b'\n' {
            if at == 0 || bytes[at - 1] != b'\r' {
                return refuse(400, "a line of the head ends without a carriage return");
            }
            if at >= 3 && bytes[at - 3..at] == *b"\r\n\r" {
                return Ok(Some(at + 1));
            }
        }
    }
    *scanned = limit;
    if bytes.len() >= rules.head_bytes_max {
        return refuse(431, "the request line and headers are longer than this server takes");
    }
    Ok(None)
}

/// A head that passed.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) body_bytes: usize,
    /// The client may send another request afterwards.
    pub(crate) keep_alive: bool,
    /// The client speaks HTTP/1.1.
    pub(crate) knows_chunks: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    /// The head written anew for tiny_http.
    pub(crate) private: Vec<u8>,
}

/// Checks one whole head, up to and with its empty line.
///
/// - `via`: how it came in
pub(crate) fn check(bytes: &[u8], rules: &Rules, via: &Via) -> Result<Head, Refusal> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut lines);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(end)) if end == bytes.len() => {}
        Ok(_) => return refuse(400, "the head ends early"),
        Err(httparse::Error::TooManyHeaders) => return refuse(431, "more than 64 header lines"),
        Err(httparse::Error::Version) if names_a_version(bytes) => {
            return refuse(505, "expected HTTP/1.1 or HTTP/1.0");
        }
        Err(_) => return refuse(400, "the head is not HTTP"),
    }
    let (Some(name), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return refuse(400, "the request line is not whole");
    };
    let Some(method) = Method::parse(name) else {
        return refuse(405, "expected GET, HEAD, POST, PUT, DELETE or OPTIONS");
    };
    if !target.starts_with('/') || !target.bytes().all(|b| (b'!'..=b'~').contains(&b)) {
        return refuse(400, "expected a target of printable ASCII that starts with a slash");
    }

    let fields = Fields::read(request.headers)?;
    let Some(host) = fields.host.or((version == 0).then_some("localhost")) else {
        return refuse(400, "expected one Host line");
    };
    match rules.answers(host, via.local) {
        None => return refuse(400, "the Host is not a name or address"),
        Some(false) => return refuse(421, "this server does not answer for that Host; see its --host flag"),
        Some(true) => {}
    }
    let body_bytes = match fields.content_length {
        Some(_) if !method.takes_body() && fields.content_length != Some(0) => {
            return refuse(400, "this method takes no body");
        }
        Some(length) if length > rules.body_bytes_max as u64 => {
            return refuse(413, "the body is longer than this server takes");
        }
        Some(length) => length as usize,
        None if matches!(method, Method::Post | Method::Put) => {
            return refuse(411, "expected a Content-Length");
        }
        None => 0,
    };
    authorize(method, target, &fields, rules, via)?;

    Ok(Head {
        method,
        body_bytes,
        keep_alive: if version == 0 { fields.keep_alive } else { !fields.close },
        knows_chunks: version == 1,
        expects_continue: fields.expects_continue && body_bytes > 0 && version == 1,
        private: write_anew(method, target, request.headers, &fields, body_bytes, via.peer),
    })
}

/// Whether the request line is whole but for its version: `METHOD target HTTP/x.y`.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let parts: Vec<_> = line.split(|b| *b == b' ').collect();
    matches!(parts[..], [_, _, [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']])
}

fn authorize(method: Method, target: &str, fields: &Fields, rules: &Rules, via: &Via) -> Result<(), Refusal> {
    let path = || decode_path(target.split('?').next().unwrap_or(target));
    let writes = match method {
        Method::Get | Method::Head | Method::Options => false,
        Method::Put | Method::Delete => true,
        Method::Post => !rules.reading_posts.contains(&path()),
    };
    if writes && fields.origin.is_some_and(|origin| !rules.own_origin(origin, via.local)) {
        return refuse(403, "pages of another site may not write here");
    }
    if let Some(token) = &rules.token
        && !via.trusted
        && (writes || (rules.token_for_reads && !rules.open_reads.contains(&path())))
    {
        let offered = fields.authorization.and_then(|value| value.split_once(' '));
        let offered = offered.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        if !offered.is_some_and(|(_, secret)| token.matches(secret.trim().as_bytes())) {
            return refuse(401, "expected Authorization: Bearer and this server's token");
        }
    }
    Ok(())
}

/// The header lines that decide something.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    origin: Option<&'a str>,
    authorization: Option<&'a str>,
    content_length: Option<u64>,
    expects_continue: bool,
    close: bool,
    keep_alive: bool,
    /// Further names that `Connection` declares as the connection's own.
    hop_by_hop: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    fn read(lines: &[httparse::Header<'a>]) -> Result<Fields<'a>, Refusal> {
        let mut fields = Fields::default();
        for line in lines {
            let is = |name: &str| line.name.eq_ignore_ascii_case(name);
            let once = |field: &mut Option<&'a str>, why: &'static str| {
                let value =
                    printable(line.value).ok_or(Refusal { status: 400, why: "a header is not ASCII" })?;
                if field.replace(value).is_some() { refuse(400, why) } else { Ok(()) }
            };
            if is("host") {
                once(&mut fields.host, "more than one Host line")?;
            } else if is("origin") {
                once(&mut fields.origin, "more than one Origin line")?;
            } else if is("authorization") {
                once(&mut fields.authorization, "more than one Authorization line")?;
            } else if is("content-length") {
                let length = content_length(line.value)?;
                if fields.content_length.replace(length).is_some() {
                    return refuse(400, "more than one Content-Length line");
                }
            } else if is("transfer-encoding") {
                return refuse(501, "Transfer-Encoding is not taken, expected a Content-Length");
            } else if is("expect") {
                if !line.value.eq_ignore_ascii_case(b"100-continue") {
                    return refuse(417, "expected 100-continue or nothing");
                }
                fields.expects_continue = true;
            } else if is("connection") {
                let Some(value) = printable(line.value) else {
                    return refuse(400, "a Connection line is not ASCII");
                };
                for option in value.split(',').map(str::trim) {
                    fields.close |= option.eq_ignore_ascii_case("close");
                    fields.keep_alive |= option.eq_ignore_ascii_case("keep-alive");
                    fields.hop_by_hop.push(option);
                }
            }
        }
        fields.keep_alive &= !fields.close;
        Ok(fields)
    }
}

/// Digits only: no sign, no blank, no list. A number beyond any body is told as too large, not as wrong.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return refuse(400, "the Content-Length is not a number");
    }
    let digit = |sum: u64, b: &u8| sum.saturating_mul(10).saturating_add(u64::from(b - b'0'));
    Ok(value.iter().fold(0, digit))
}

fn printable(value: &[u8]) -> Option<&str> {
    let ascii = value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~'));
    std::str::from_utf8(value).ok().filter(|_| ascii).map(str::trim)
}

/// Lines that belong to the client's connection or that the door has dealt with.
const NOT_PASSED_ON: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn write_anew(
    method: Method,
    target: &str,
    lines: &[httparse::Header],
    fields: &Fields,
    body_bytes: usize,
    peer: IpAddr,
) -> Vec<u8> {
    let mut head = format!("{} {target} HTTP/1.1\r\n{PEER_HEADER}: {peer}\r\n", method.as_str());
    for line in lines {
        let is = |name: &&str| line.name.eq_ignore_ascii_case(name);
        let internal = line.name.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("X-Dotter-"));
        if internal || NOT_PASSED_ON.iter().any(&is) || fields.hop_by_hop.iter().any(&is) {
            continue;
        }
        // Another program's cookie may hold any byte, and tiny_http gives up on those. It is left out,
        // since nothing that decides here can hold one.
        if let Some(value) = printable(line.value) {
            head.extend([line.name, ": ", value, "\r\n"]);
        }
    }
    if method.takes_body() {
        head.push_str(&format!("Content-Length: {body_bytes}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Finds and checks a head as the gate does, for the fuzz targets.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    let Ok(rules) = Rules::new(&crate::Config::new(([127, 0, 0, 1], 0).into())) else { return };
    let bytes = &bytes[empty_lines(bytes)..];
    if let Ok(Some(end)) = find_end(bytes, &mut 0, &rules) {
        let via = Via { peer: IpAddr::from([127, 0, 0, 1]), local: None, trusted: false };
        let _ = check(&bytes[..end], &rules, &via);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::{Config as Cases, RngAlgorithm, TestRng, TestRunner};

    use super::*;
    use crate::Config;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const VIA: Via = Via { peer: PEER, local: None, trusted: false };

    fn rules() -> Rules {
        let config = Config { head_bytes_max: 2048, ..Config::new("127.0.0.1:0".parse().unwrap()) };
        Rules::new(&config).unwrap()
    }

    /// What the gate makes of `bytes` that arrive `step` at a time.
    fn read(bytes: &[u8], step: usize, rules: &Rules) -> Result<Option<(usize, Head)>, Refusal> {
        let (mut input, mut scanned) = (Vec::new(), 0);
        for arrived in bytes.chunks(step) {
            input.extend_from_slice(arrived);
            if scanned == 0 {
                input.drain(..empty_lines(&input));
            }
            if let Some(end) = find_end(&input, &mut scanned, rules)? {
                return Ok(Some((end, check(&input[..end], rules, &VIA)?)));
            }
        }
        Ok(None)
    }

    /// A reading of the private head by other means than httparse, as literal as can be.
    fn is_strict(head: &Head) -> Result<(), String> {
        let text = std::str::from_utf8(&head.private).map_err(|e| e.to_string())?;
        let inner = text.strip_suffix("\r\n\r\n").ok_or("no empty line at the end")?;
        let lines: Vec<&str> = inner.split("\r\n").collect();
        if !lines.iter().all(|line| line.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~'))) {
            return Err("a control character or a bare line end".into());
        }
        let [method, target, "HTTP/1.1"] = lines[0].split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("request line {:?}", lines[0]));
        };
        if method != head.method.as_str() || !target.starts_with('/') {
            return Err(format!("request line {:?}", lines[0]));
        }
        let mut lengths = Vec::new();
        let mut peers = Vec::new();
        for line in &lines[1..] {
            let (name, value) = line.split_once(": ").ok_or(format!("header line {line:?}"))?;
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(format!("header name {name:?}"));
            }
            match name.to_ascii_lowercase().as_str() {
                "content-length" => lengths.push(value.to_owned()),
                "x-dotter-peer" => peers.push(value.to_owned()),
                "transfer-encoding" | "connection" | "upgrade" | "te" | "expect" | "authorization" => {
                    return Err(format!("header {name} was passed on"));
                }
                _ => {}
            }
        }
        let length = head.method.takes_body().then(|| head.body_bytes.to_string());
        if lengths != Vec::from_iter(length) || peers != [PEER.to_string()] {
            return Err(format!("lengths {lengths:?}, peers {peers:?}"));
        }
        if head.body_bytes > 4 << 20 { Err("a body above the limit".into()) } else { Ok(()) }
    }

    /// Pieces that a head is made of, right ones and wrong ones.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let words = [
            "GET",
            "POST",
            "DELETE",
            "get",
            " / ",
            " ",
            " /a?b=%41%",
            "HTTP/1.1",
            "HTTP/1.0",
            "HTTP/2.0",
            "\r\n",
            "\r\n",
            "\r\n\r\n",
            "\n",
            "\r",
            ": ",
            ":",
            "Host",
            "Host: localhost\r\n",
            "localhost",
            "[::1]:80",
            "Content-Length",
            "Content-Length: 7\r\n",
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close, X-Hop\r\n",
            "X-Hop: 1\r\n",
            "X-Dotter-Peer: 1.2.3.4\r\n",
            "Expect: 100-continue\r\n",
            "Origin: null\r\n",
            "Authorization: Bearer x\r\n",
            "Cookie: \u{e9}\r\n",
            "\t",
            "\0",
            "\u{e9}",
            "GET / HTTP/1.1\r\nHost: localhost\r\n",
            "POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n",
        ];
        prop_oneof![
            8 => proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
            1 => vec(any::<u8>(), 0..4),
        ]
    }

    #[test]
    fn no_bytes_make_it_panic_and_what_passes_is_strict() {
        let seed: u64 = match std::env::var("DOTTER_SEED") {
            Ok(seed) => seed.parse().expect("DOTTER_SEED is a number"),
            Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        };
        println!("DOTTER_SEED={seed}");
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
        let cases = Cases { cases: 30_000, failure_persistence: None, ..Cases::default() };
        let heads = prop_oneof![
            1 => vec(any::<u8>(), 0..200),
            6 => vec(piece(), 0..16).prop_map(|pieces| pieces.concat()),
            3 => vec(piece(), 0..8).prop_map(|pieces| {
                [b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n".to_vec(), pieces.concat(), b"\r\n".to_vec()]
                    .concat()
            }),
        ];
        let rules = rules();
        let passed = std::cell::Cell::new(0);
        let property = |(bytes, step): (Vec<u8>, usize)| {
            let whole = read(&bytes, usize::MAX, &rules);
            let parts = read(&bytes, step, &rules);
            let ends = |r: &Result<Option<(usize, Head)>, Refusal>| {
                r.as_ref().map(|o| o.as_ref().map(|(end, _)| *end)).map_err(|refusal| refusal.status)
            };
            // Sooner or later a bad head is refused; which of its faults is met first may differ.
            prop_assert_eq!(ends(&whole).ok(), ends(&parts).ok());
            if let Ok(Some((_, head))) = whole {
                passed.set(passed.get() + 1);
                is_strict(&head).map_err(TestCaseError::fail)?;
            }
            Ok(())
        };
        TestRunner::new_with_rng(cases, rng).run(&(heads, 1..40_usize), property).unwrap();
        assert!(passed.get() > 1000, "only {} heads passed: the test tests little", passed.get());
    }
}
