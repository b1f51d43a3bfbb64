//! Starting and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dotter_daemon::{Log, StopFlag, stop_on_signals};
use dotter_http::{Config, Server, Token};

use crate::follower::{self, Followed};
use crate::site::{READING_POSTS, Site};
use crate::{Args, Error, Feed, StoreFeed};

/// Requests that have begun may take this long to end.
const GRACE: Duration = Duration::from_secs(3);
/// Requests answered at once: each is short, or bounded by its budget.
const THREADS: usize = 4;

/// Where to serve and whom to answer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to serve on.
    pub listen: SocketAddr,
    /// Host names answered besides the usual.
    pub hosts: Vec<String>,
    /// What every request must carry.
    pub token: Option<Token>,
}

/// A running displayer.
pub struct Displayer {
    server: Option<Server>,
    follower: Option<JoinHandle<()>>,
    stop: StopFlag,
    addr: SocketAddr,
}

impl Displayer {
    /// Opens the door and begins to follow `feed`.
    ///
    /// # Errors
    ///
    /// Where the address cannot be served or a thread cannot be started.
    pub fn start(settings: Settings, feed: Box<dyn Feed>, log: Log) -> Result<Displayer, Error> {
        let followed = Arc::new(Followed::new());
        let stop = StopFlag::default();
        let config = Config {
            hosts: settings.hosts,
            // Every request reads, so a token that only writers need would protect nothing.
            token_for_reads: settings.token.is_some(),
            token: settings.token,
            reading_posts: READING_POSTS.map(str::to_owned).to_vec(),
            threads: THREADS,
            ..Config::new(settings.listen)
        };
        let site = Site::new(followed.clone(), config.counters.clone());
        let server = Server::start(config, move |request| site.answer(&request))?;
        let addr = server.local_addr();
        let follower = follower::start(feed, followed, stop.clone(), log).map_err(Error::Follower)?;
        Ok(Displayer { server: Some(server), follower: Some(follower), stop, addr })
    }

    /// Where it serves; the port is the real one when 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends streams, lets requests finish for at most `grace`, stops following.
    pub fn stop(mut self, grace: Duration) {
        if let Some(server) = self.server.take() {
            server.stop(grace);
        }
    }
}

impl Drop for Displayer {
    fn drop(&mut self) {
        self.stop.set();
        drop(self.server.take());
        if let Some(follower) = self.follower.take() {
            // It does not panic: the process would be gone.
            let _ = follower.join();
        }
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// Where it cannot start.
pub fn run(args: Args) -> Result<(), Error> {
    let log = Log::new("dotter-displayer");
    // A segment that the disk cannot give is an error from here on; without this it would be the end.
    if let Err(error) = dotter_store::survive_truncation() {
        log.info(&format!("cannot guard against segments that are cut short: {error}"));
    }
    // A reader of many segments keeps a file open for each.
    dotter_store::allow_many_files();
    let secret = dotter_daemon::token(args.token_file.as_deref()).map_err(Error::Token)?;
    let token = secret.map(|secret| Token::from_env_value(secret.as_str())).transpose()?;
    let stop = stop_on_signals().map_err(Error::Signals)?;
    let settings = Settings { listen: args.listen, hosts: args.hosts, token };
    let displayer = Displayer::start(settings, Box::new(StoreFeed::new(args.data.clone())), log.clone())?;
    log.info(&format!("serving {} at http://{}/", args.data.display(), displayer.addr()));
    while !stop.wait(Duration::from_secs(3600)) {}
    log.info("stopping");
    displayer.stop(GRACE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpStream;

    use serde_json::{Value, json};

    use crate::fixture::Memory;

    /// Reads a stream until a line begins with `start`; that line.
    fn read_until(stream: &mut impl BufRead, start: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended before '{start}'");
            if line.starts_with(start) {
                return line.trim_end().to_owned();
            }
        }
    }

    fn follow(addr: SocketAddr, headers: &str) -> BufReader<TcpStream> {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = format!("GET /live?series=a HTTP/1.1\r\nHost: {addr}\r\n{headers}\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        BufReader::new(socket)
    }

    #[test]
    fn a_viewer_follows_over_a_socket_and_comes_back_where_it_left() {
        let memory = Memory::open();
        let settings = Settings { listen: "127.0.0.1:0".parse().unwrap(), hosts: Vec::new(), token: None };
        let displayer = Displayer::start(settings, Box::new(memory.clone()), Log::new("test")).unwrap();
        let mut stream = follow(displayer.addr(), "");
        assert!(read_until(&mut stream, "HTTP/1.1 ").contains("200"));
        read_until(&mut stream, "event: hello");
        let mut n = 0.0;
        let mut commit = || {
            n += 1.0;
            memory.commit(&[("a", n, n)]);
        };
        commit();
        let id = read_until(&mut stream, "id: ");
        assert!(read_until(&mut stream, "data: ").starts_with("data: {\"a\": [["));
        drop(stream);
        commit();
        commit();
        let resume = format!("Last-Event-ID: {}\r\n", id.trim_start_matches("id: "));
        let mut stream = follow(displayer.addr(), &resume);
        // In one event or in two, as the looks fell.
        let mut told = String::new();
        while !told.contains("[3, 3.0]") {
            told += &read_until(&mut stream, "data: {\"a\"").replace("data: {\"a\": ", "");
        }
        let whole = told == "[[2, 2.0], [3, 3.0]]}" || told == "[[2, 2.0]]}[[3, 3.0]]}";
        assert!(whole, "{told}");
        displayer.stop(Duration::from_secs(1));
    }

    #[test]
    fn a_viewer_is_told_of_names_that_came_since_the_store_was_opened() {
        let memory = Memory::default();
        let settings = Settings { listen: "127.0.0.1:0".parse().unwrap(), hosts: Vec::new(), token: None };
        let displayer = Displayer::start(settings, Box::new(memory.clone()), Log::new("test")).unwrap();
        let mut stream = follow(displayer.addr(), "");
        read_until(&mut stream, "event: hello");
        memory.commit(&[("a", 1.0, 1.0)]);
        memory.appear();
        let mut told = || {
            read_until(&mut stream, "event: series");
            let told = read_until(&mut stream, "data: ");
            serde_json::from_str::<Value>(told.trim_start_matches("data: ")).unwrap()
        };
        assert_eq!(told(), json!({"total": 1, "new": 0, "names": []}));
        memory.commit(&[("c", 2.0, 1.0), ("a", 2.0, 1.0), ("b", 2.0, 1.0), ("c", 3.0, 1.0)]);
        assert_eq!(told(), json!({"total": 3, "new": 2, "names": ["c", "b"]}));
        displayer.stop(Duration::from_secs(1));
    }
}
