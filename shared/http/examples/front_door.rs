//! A front door to try by hand.
//!
//! ```text
//! cargo run -p dotter-http --example front_door -- 127.0.0.1:8000
//! curl -i 127.0.0.1:8000/                    what came in
//! curl -i -d 'a=1&b=2' 127.0.0.1:8000/echo   a body, sent back
//! curl -N 127.0.0.1:8000/events              an event every 100 ms
//! curl -o /dev/null 127.0.0.1:8000/big       32 MiB, from memory; or ?bytes=N
//! curl -i 127.0.0.1:8000/panic               500, and the next request is answered
//! curl 127.0.0.1:8000/metrics                what the door has seen
//! ```
//!
//! `DOTTER_TOKEN` in the environment is the token of every request; an address that others can reach needs it.
//! Ends when standard input does.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotter_http::{Config, EventSender, Request, Response, Server, Token, event_stream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    let mut config = Config::new(listen.parse()?);
    if let Some(token) = std::env::var_os("DOTTER_TOKEN") {
        // What is not UTF-8 is refused as what it is: no token.
        config.token = Some(Token::from_env_value(&token.to_string_lossy())?);
    }
    let viewers: Arc<Mutex<Vec<EventSender>>> = Arc::default();

    let handler = {
        let (viewers, counters) = (viewers.clone(), config.counters.clone());
        move |request: Request| match request.path.as_str() {
            "/echo" => Response::new(200, "application/octet-stream", request.body),
            "/big" => {
                let bytes = request.query.get("bytes").and_then(|b| b.parse().ok()).unwrap_or(32 << 20);
                Response::new(200, "application/octet-stream", vec![b'x'; bytes.min(64 << 20)])
            }
            "/ok" => Response::text(200, "ok\n"),
            "/panic" => panic!("asked to"),
            "/events" => {
                let (sender, response) = event_stream(64 << 10);
                viewers.lock().expect("no holder panics").push(sender);
                response
            }
            "/metrics" => {
                let line = |(name, help, value)| {
                    format!("# HELP dotter_http_{name} {help}\ndotter_http_{name} {value}\n")
                };
                Response::text(200, counters.snapshot().iter().map(line).collect::<String>())
            }
            _ => Response::text(200, format!("{request:#?}\n")),
        }
    };
    let server = Server::start(config, handler)?;
    eprintln!("listening on {}; ends with standard input", server.local_addr());

    std::thread::spawn(move || {
        for n in 0_u64.. {
            let id = n.to_string();
            let event =
                |viewer: &EventSender| viewer.send(Some(&id), Some("tick"), &format!("{{\"n\": {n}}}"));
            viewers.lock().expect("no holder panics").retain(event);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.stop(Duration::from_secs(2));
    Ok(())
}
