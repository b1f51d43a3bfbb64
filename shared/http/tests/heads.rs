//! Request heads, good and bad, each sent to a real server, and the status it answers.

mod client;

use client::{Client, config, echo, start};
use dotter_http::{Config, Error, Request, Response, Server, Token};

const TOKEN: &str = "5f0c1d7ba3924e8896d0b1c2a3f4e5d6";

fn server() -> Server {
    start(Config { reading_posts: vec!["/render".into(), "/a b".into()], ..config() }, echo)
}

/// Sends `request` with its line ends as they are and expects `status`.
fn check(server: &Server, status: u16, request: &[u8]) {
    let mut client = Client::connect(server);
    let answer = client.send(request).answer();
    assert_eq!(answer.status, status, "{}: {answer:?}", String::from_utf8_lossy(request));
    let kept = answer.header("Connection").map(str::to_owned);
    assert!(kept.is_some(), "every answer says whether the connection lasts: {answer:?}");
    if status >= 400 {
        assert_eq!(kept.as_deref(), Some("close"), "what follows a bad head means nothing");
        assert!(client.rest().is_empty(), "and is not answered");
    }
}

/// A GET with these header lines besides Host.
fn get(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").into_bytes()
}

/// A POST of `x` with these header lines besides Host and Content-Length.
fn post(target: &str, lines: &str) -> Vec<u8> {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n{lines}\r\nx").into_bytes()
}

#[test]
fn request_lines() {
    let s = &server();
    let line = |line: &str| format!("{line}\r\nHost: localhost\r\n\r\n").into_bytes();
    for good in [
        "GET / HTTP/1.1",
        "GET / HTTP/1.0",
        "HEAD / HTTP/1.0",
        "DELETE /x HTTP/1.1",
        "OPTIONS /x HTTP/1.1",
        "GET /store/fib% HTTP/1.1",
        "GET /%zz?a=%&b=%4 HTTP/1.1",
        "GET /render?target=scale(a.{b,c}.*,2)&x=[\"|^`\\~<>] HTTP/1.1",
        "GET //x HTTP/1.1",
        "\r\nGET / HTTP/1.1",
        "\r\n\r\nGET / HTTP/1.1",
    ] {
        if good.starts_with("HEAD") {
            assert!(Client::connect(s).send(line(good)).head().starts_with("HTTP/1.1 200 "));
        } else {
            check(s, 200, &line(good));
        }
    }
    for (status, bad) in [
        (400, "GET http://localhost/ HTTP/1.1"),
        (400, "GET * HTTP/1.1"),
        (400, "OPTIONS * HTTP/1.1"),
        (400, "GET x HTTP/1.1"),
        (400, "GET /caf\u{e9} HTTP/1.1"),
        (400, "GET /a b HTTP/1.1"),
        (400, "GET  / HTTP/1.1"),
        (400, "GET /\t HTTP/1.1"),
        (400, "GET /"),
        (400, "GET / http/1.1"),
        (400, "GET / HTTP/1"),
        (400, "get / HTTP/1.1"),
        (400, " GET / HTTP/1.1"),
        (400, "GE\0T / HTTP/1.1"),
        (405, "PATCH / HTTP/1.1"),
        (405, "TRACE / HTTP/1.1"),
        (405, "CONNECT localhost:80 HTTP/1.1"),
        (405, "BREW / HTTP/1.1"),
        (405, "Get / HTTP/1.1"),
        (505, "GET / HTTP/2.0"),
        (505, "GET / HTTP/1.2"),
        (505, "GET / HTTP/3.0"),
        (505, "GET / HTTP/0.9"),
    ] {
        check(s, status, &line(bad));
    }
    check(s, 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    check(s, 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    check(s, 400, b"GET / HTTP/1.1\nHost: localhost\n\n");
    check(s, 400, b"\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    check(s, 400, b"\rGET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    check(s, 400, b"GET / HTTP/1.1\r\nHost: localhost\r\n\n");
    check(s, 400, b"GET / HTTP/1.1\r\nHost: localhost\n\r\n");
}

#[test]
fn header_lines() {
    let s = &server();
    check(s, 200, &get("X-Empty:\r\n"));
    check(s, 200, &get("X-Tab: a\tb\r\n"));
    check(s, 200, "GET / HTTP/1.1\r\nHost: localhost\r\nCookie: name=J\u{f6}rg\r\n\r\n".as_bytes());
    check(s, 400, &get("X-Fold: a\r\n b\r\n"));
    check(s, 400, &get("X-Blank : a\r\n"));
    check(s, 400, &get("X Blank: a\r\n"));
    check(s, 400, &get(": a\r\n"));
    check(s, 400, &get("no colon\r\n"));
    check(s, 400, &get("X-Nul: a\0b\r\n"));
    check(s, 400, &get("X-Cr: a\rb\r\n"));
    check(s, 400, &get("X-Cr: a\r\r\n"));
    check(s, 400, &get("X-Del: a\x7fb\r\n"));
    check(s, 200, &get(&"X-Many: x\r\n".repeat(63)));
    check(s, 431, &get(&"X-Many: x\r\n".repeat(64)));
    check(s, 200, &get(&format!("X-Long: {}\r\n", "x".repeat(16_000))));
    check(s, 431, &get(&format!("X-Long: {}\r\n", "x".repeat(16_400))));
    check(s, 431, &[b"GET /".as_slice(), &[b'x'; 20_000]].concat());
    check(s, 200, &get("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n"));
}

#[test]
fn hosts() {
    let s = &start(
        Config { hosts: vec!["Dots.Example".into(), "192.0.2.1".into(), "2001:db8::1".into()], ..config() },
        echo,
    );
    let host = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    for good in [
        "localhost",
        "LocalHost",
        "localhost.",
        "localhost:9999",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:80",
        "[0:0:0:0:0:0:0:1]",
        "dots.example",
        "dots.example:8000",
        "192.0.2.1",
        "[2001:db8::1]:1",
    ] {
        check(s, 200, &host(good));
    }
    for other in [
        "evil.example",
        "localhost.evil.example",
        "dots.example.evil",
        "127.0.0.2",
        "0.0.0.0",
        "[::2]",
        "xlocalhost",
    ] {
        check(s, 421, &host(other));
    }
    for bad in [
        "",
        "a b",
        "user@localhost",
        "localhost:x",
        "localhost:123456",
        "localhost:80:80",
        "[::1",
        "[localhost]",
        "localhost/",
        "::1",
    ] {
        check(s, 400, &host(bad));
    }
    check(s, 400, b"GET / HTTP/1.1\r\n\r\n");
    check(s, 200, b"GET / HTTP/1.0\r\n\r\n");
    check(s, 400, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n");
    check(s, 400, b"GET / HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n\r\n");
    for bad in ["a b", "", "dots.example:80", "http://x"] {
        let refused = Server::start(Config { hosts: vec![bad.into()], ..config() }, echo);
        assert!(matches!(refused, Err(Error::HostName { .. })), "{bad}");
    }
}

#[test]
fn framing() {
    let s = &server();
    let length = |method: &str, length: &str| {
        format!("{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length:{length}\r\n\r\nhello").into_bytes()
    };
    check(s, 200, &length("POST", " 5"));
    check(s, 200, &length("PUT", "5"));
    check(s, 200, &length("DELETE", "  005 "));
    for bad in ["", " ", " +5", " -5", " 5 5", " 5,5", " 0x5", " 5.0", " 5;", " five", " \u{665}"] {
        check(s, 400, &length("POST", bad));
    }
    for huge in ["4194305", "99999999999", "18446744073709551615", "18446744073709551616", &"9".repeat(300)] {
        check(s, 413, &length("POST", huge));
    }
    for method in ["GET", "HEAD", "OPTIONS"] {
        check(s, 400, &length(method, "5"));
    }
    check(s, 200, &get("Content-Length: 0\r\n"));
    check(s, 411, b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    check(s, 411, b"PUT / HTTP/1.0\r\n\r\n");
    check(s, 200, b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    check(
        s,
        400,
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    );
    check(
        s,
        400,
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\ncontent-length: 6\r\n\r\nhello",
    );
    for coding in ["chunked", "identity", "gzip, chunked", "xchunked", ""] {
        check(s, 501, &post("/", &format!("Transfer-Encoding: {coding}\r\n")));
        check(s, 501, &get(&format!("transfer-encoding:{coding}\r\n")));
    }
    check(s, 417, &post("/", "Expect: 200-ok\r\n"));
    assert_eq!(Client::connect(s).get("/").status, 200, "all the while the server is well");
}

#[test]
fn pages_of_other_sites_may_read_but_not_write() {
    let s = &server();
    for own in ["http://localhost", "http://localhost:3000", "https://127.0.0.1:8000", "http://[::1]:1"] {
        check(s, 200, &post("/", &format!("Origin: {own}\r\n")));
    }
    for other in [
        "http://evil.example",
        "null",
        "",
        "localhost",
        "http://localhost.evil.example",
        "ftp://localhost",
        "http://evil@localhost",
    ] {
        let origin = format!("Origin: {other}\r\n");
        check(s, 403, &post("/", &origin));
        check(s, 403, &post("/render/", &origin));
        check(s, 403, &post("/x?/render", &origin));
        check(s, 200, &post("/render?x=1", &origin));
        check(s, 200, &post("/%72ender", &origin));
        check(s, 200, &post("/a%20b", &origin));
        check(s, 200, &get(&origin));
        check(s, 403, format!("DELETE / HTTP/1.1\r\nHost: localhost\r\n{origin}\r\n").as_bytes());
        check(
            s,
            403,
            format!("PUT /render HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{origin}\r\n")
                .as_bytes(),
        );
    }
    check(s, 400, &post("/", "Origin: http://localhost\r\nOrigin: http://evil.example\r\n"));
    assert!(s.counters().forbidden > 0);
}

#[test]
fn a_token_guards_writing_and_reading_where_asked() {
    let token = Some(Token::from_env_value(TOKEN).unwrap());
    let reading_posts = vec!["/render".into()];
    let s = &start(Config { token: token.clone(), token_for_reads: false, reading_posts, ..config() }, echo);
    let bearer = |value: &str| format!("Authorization: {value}\r\n");
    let right = bearer(&format!("Bearer {TOKEN}"));
    check(s, 200, &post("/", &right));
    check(s, 200, &post("/", &bearer(&format!("bearer   {TOKEN} "))));
    let near = format!("Bearer {}7", &TOKEN[..31]);
    for wrong in
        ["", "Bearer", "Bearer ", TOKEN, &near, &format!("Basic {TOKEN}"), &format!("Bearer {TOKEN}x")]
    {
        check(s, 401, &post("/", &bearer(wrong)));
    }
    check(s, 401, &post("/", ""));
    check(s, 401, &post(&format!("/?token={TOKEN}"), ""));
    check(s, 400, &post("/", &right.repeat(2)));
    check(s, 200, &post("/render", ""));
    check(s, 200, &get(""));
    assert_eq!(Client::connect(s).send(post("/", "")).answer().header("WWW-Authenticate"), Some("Bearer"));
    check(s, 403, &post("/", &format!("{right}Origin: http://evil.example\r\n")));
}

#[test]
fn who_reads_needs_the_token_too_but_for_the_open_paths() {
    let token = Some(Token::from_env_value(TOKEN).unwrap());
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    let s = &start(Config { token, open_reads: vec!["/-/healthy".into()], ..config() }, echo);
    let check = |status: u16, method: &str, target: &str, lines: &str| {
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: 0\r\n\r\n");
        let answer = Client::connect(s).send(&head).head();
        assert_eq!(answer.split(' ').nth(1), Some(status.to_string().as_str()), "{head}{answer}");
    };
    for method in ["GET", "HEAD", "OPTIONS"] {
        check(401, method, "/", "");
        check(200, method, "/", &right);
    }
    check(200, "GET", "/-/healthy", "");
    check(200, "HEAD", "/-/healthy?x", "");
    for other in
        ["/-/healthy/", "/-/healthy/x", "//-/healthy", "/-/Healthy", "/x?/-/healthy", "/-/healthy%3F"]
    {
        check(401, "GET", other, "");
    }
    for method in ["POST", "PUT", "DELETE"] {
        check(401, method, "/-/healthy", "");
    }
}

/// Shows P23.
#[test]
fn an_address_others_can_reach_needs_a_token() {
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = Server::start(Config::new(open.parse().unwrap()), echo).unwrap_err();
        assert!(matches!(refused, Error::NotLoopback { .. }));
        assert!(refused.to_string().contains("token"), "{refused}");
    }
    let token = Some(Token::from_env_value(TOKEN).unwrap());
    let s = start(Config { token, ..Config::new("0.0.0.0:0".parse().unwrap()) }, echo);
    let mut client = Client::to(([127, 0, 0, 5], s.local_addr().port()).into());
    let head = format!("GET / HTTP/1.1\r\nHost: 127.0.0.5\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    let answer = client.send(head).answer();
    assert_eq!(answer.status, 200, "the address it was reached at is its own");
}

#[test]
fn a_handler_sees_what_was_sent_but_what_belongs_to_the_connection() {
    let s = start(config(), |request: Request| {
        let lines: String = request.headers.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        Response::text(
            200,
            format!("{} {:?} {}\n{lines}", request.path, request.query.get("q"), request.peer),
        )
    });
    let request = "GET /a%20b%?q=%C3%A9 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nTE: chunked\r\nX-Hop: 1\r\n\
                   Keep-Alive: 5\r\nUpgrade: x\r\nConnection: X-Hop, keep-alive\r\nTrailer: x\r\nProxy-Connection: x\r\n\
                   X-Dotter-Peer: 192.0.2.9\r\nx-dotter-handover: 1\r\nX-Odd: \u{e9}\r\nReferer:  a  \r\n\r\n";
    let answer = Client::connect(&s).send(request).answer();
    assert_eq!(answer.text(), "/a b% Some(\"\u{e9}\") 127.0.0.1\nHost=localhost\nAccept=*/*\nReferer=a\n");
}
