//! The socket file: the same server for whoever can open it, without a token.

mod client;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use client::{Client, config, echo, start};
use dotter_http::{Config, Token};

const PUT: &str = "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

fn ask(path: &Path) -> String {
    let mut socket = UnixStream::connect(path).unwrap();
    socket.write_all(PUT.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn who_can_open_the_file_needs_no_token_and_everyone_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("collector.sock");
    // As a server that was killed leaves it.
    drop(UnixListener::bind(&path).unwrap());
    let token = Some(Token::from_env_value("a-secret-of-0123456789abcdef").unwrap());
    let server = start(Config { socket_file: Some(path.clone()), token, ..config() }, echo);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for _ in 0..3 {
        let answer = ask(&path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(Client::connect(&server).send(PUT).answer().status, 401);
    server.stop(Duration::from_secs(5));
    assert!(!path.exists(), "it goes with its server");
}

#[test]
fn a_path_that_cannot_be_is_an_error_that_names_it() {
    let path = Path::new("/nowhere/at/all.sock").to_owned();
    let error = dotter_http::Server::start(Config { socket_file: Some(path), ..config() }, echo).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all.sock"), "{error}");
}
