//! HTTP as a user's script would speak it: one request, one connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any deadline of the servers.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// Sends `request` and reads until the end; `None` where no complete answer comes.
pub fn request(addr: SocketAddr, request: &[u8]) -> Option<Reply> {
    let mut socket = TcpStream::connect_timeout(&addr, TIMEOUT).ok()?;
    socket.set_read_timeout(Some(TIMEOUT)).ok()?;
    socket.set_write_timeout(Some(TIMEOUT)).ok()?;
    socket.write_all(request).ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    // Cut short is as good as none.
    (length.is_none_or(|length| length == body.len())).then(|| Reply { status, body: body.to_owned() })
}

/// GET `path`; `None` where no complete answer comes.
pub fn get(addr: SocketAddr, path: &str) -> Option<Reply> {
    request(addr, format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes())
}

/// GET `path`, which must be answered with 200 and JSON.
///
/// # Panics
///
/// Where it is not.
#[track_caller]
pub fn get_json(addr: SocketAddr, path: &str) -> Value {
    let reply = get(addr, path).unwrap_or_else(|| panic!("no answer to GET {path}"));
    assert_eq!(reply.status, 200, "GET {path}: {}", reply.body);
    serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("GET {path}: {error}: {}", reply.body))
}

/// POST `body` as `curl -d` does; `None` where no complete answer comes.
pub fn post(addr: SocketAddr, path: &str, body: &str) -> Option<Reply> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nAccept: */*\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    request(addr, head.as_bytes())
}
