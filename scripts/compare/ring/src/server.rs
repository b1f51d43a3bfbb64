//! Redis: into a server on this machine, over a socket that needs no network.

use std::cell::RefCell;
use std::error::Error;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use redis::{Client, Connection, Pipeline};

use crate::measure::{Row, black_box, timed};

const RUN_DOTS: u64 = 5_000;
const SINGLE_DOTS: u64 = 500;
/// Commands that wait for one answer together.
const PIPELINE_COMMANDS: u64 = 1_000;
const PATIENCE: Duration = Duration::from_secs(10);

/// `None` where there is no redis-server to start.
pub(crate) fn rows(dir: &Path) -> Result<Option<Vec<Row>>, Box<dyn Error>> {
    let Some(server) = Server::start(dir)? else {
        return Ok(None);
    };
    let talk = Rc::new(RefCell::new((server.connect()?, server)));
    let stream = |pipe: &mut Pipeline, n: u64| {
        pipe.cmd("XADD").arg("value").arg("*").arg("v").arg(black_box(n as f64)).ignore();
    };
    let list = |pipe: &mut Pipeline, n: u64| {
        pipe.cmd("RPUSH").arg("value").arg(black_box(n as f64)).ignore();
    };
    Ok(Some(vec![
        Row::new(
            "redis RPUSH, 1000 in a pipeline",
            "no time; into the server, acknowledged",
            run(&talk, list),
        )
        .dots(RUN_DOTS),
        Row::new("redis XADD, 1000 in a pipeline", "the server's time; into the server, acknowledged", {
            run(&talk, stream)
        })
        .dots(RUN_DOTS),
        Row::new(
            "redis XADD, one at a time",
            "the server's time; into the server, acknowledged",
            move || {
                let (connection, _) = &mut *talk.borrow_mut();
                let spent = timed(|| {
                    for n in 0..SINGLE_DOTS {
                        let mut command = redis::cmd("XADD");
                        command.arg("value").arg("*").arg("v").arg(black_box(n as f64));
                        command.exec(connection).expect("the server is there as long as this process");
                    }
                });
                clear(connection);
                spent
            },
        )
        .dots(SINGLE_DOTS),
    ]))
}

fn run(
    talk: &Rc<RefCell<(Connection, Server)>>,
    add: impl Fn(&mut Pipeline, u64) + 'static,
) -> impl FnMut() -> Duration + 'static {
    let talk = talk.clone();
    move || {
        let (connection, _) = &mut *talk.borrow_mut();
        let spent = timed(|| {
            let mut pipe = redis::pipe();
            for n in 0..RUN_DOTS {
                add(&mut pipe, n);
                if (n + 1) % PIPELINE_COMMANDS == 0 {
                    pipe.exec(connection).expect("the server is there as long as this process");
                    pipe.clear();
                }
            }
        });
        clear(connection);
        spent
    }
}

fn clear(connection: &mut Connection) {
    redis::cmd("DEL").arg("value").exec(connection).expect("the server is there as long as this process");
}

/// A server of our own. Ends with this.
struct Server {
    child: Child,
    client: Client,
}

impl Server {
    fn start(dir: &Path) -> Result<Option<Server>, Box<dyn Error>> {
        let socket = dir.join("redis.sock");
        let mut command = Command::new("redis-server");
        // Nothing is written to a disk, nobody else can come in.
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocketperm", "700"]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(dir);
        let child = match command.stdin(Stdio::null()).stdout(Stdio::null()).spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            child => child?,
        };
        let client = Client::open(format!("redis+unix://{}", socket.display()))?;
        Ok(Some(Server { child, client }))
    }

    fn connect(&self) -> Result<Connection, Box<dyn Error>> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.client.get_connection() {
                Ok(connection) => return Ok(connection),
                Err(error) if Instant::now() > until => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
