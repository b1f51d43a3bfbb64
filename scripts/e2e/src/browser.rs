//! A real Chromium without a window, driven over a pipe.
//!
//! Source: the Chrome DevTools Protocol with `--remote-debugging-pipe`: messages are JSON, each ends with a zero byte,
//! the browser reads descriptor 3 and writes descriptor 4.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wait::PATIENCE;

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A running browser; ended when this is dropped.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    last_id: u64,
    _profile: TempDir,
}

/// An open page.
#[derive(Clone)]
pub struct Tab {
    session: String,
}

impl Browser {
    /// Starts it with an empty profile.
    ///
    /// # Panics
    ///
    /// Where there is no Chromium: a test that needs one must not pass without.
    pub fn start() -> Browser {
        let profile = TempDir::new().expect("a temporary directory can be made");
        let found = NAMES.iter().find(|name| {
            let version =
                Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            version.is_ok_and(|status| status.success())
        });
        let name = found.expect("this test needs Chromium: install the package chromium");
        // The shell puts the pipes where the browser looks for them, and is replaced by it.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", name]).args([
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--window-size=1280,800",
            // Its own cage needs privileges that a container or root does not give; the page is ours.
            "--no-sandbox",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).env("HOME", profile.path());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell can be started");
        let to = child.stdin.take().expect("it is piped");
        let stdout: ChildStdout = child.stdout.take().expect("it is piped");
        let (told, from) = channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut message = Vec::new();
            while stdout.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop_if(|last| *last == 0);
                let value = serde_json::from_slice(&message).unwrap_or(Value::Null);
                if told.send(value).is_err() {
                    return;
                }
                message.clear();
            }
        });
        Browser { child, to, from, last_id: 0, _profile: profile }
    }

    /// Opens `url`.
    ///
    /// # Panics
    ///
    /// Where the browser does not do so.
    pub fn open(&mut self, url: &str) -> Tab {
        let target = self.call(None, "Target.createTarget", json!({"url": url}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call(None, "Target.attachToTarget", attach);
        Tab { session: session["sessionId"].as_str().expect("a session has a name").to_owned() }
    }

    /// Opens `url` after `script` has run on its page, before any script of its own.
    ///
    /// # Panics
    ///
    /// Where the browser does not do so.
    pub fn open_with(&mut self, script: &str, url: &str) -> Tab {
        let tab = self.open("about:blank");
        self.call(Some(&tab), "Page.enable", json!({}));
        self.call(Some(&tab), "Page.addScriptToEvaluateOnNewDocument", json!({"source": script}));
        self.call(Some(&tab), "Page.navigate", json!({"url": url}));
        tab
    }

    /// The value of a JavaScript expression on a page; a promise is waited for.
    ///
    /// # Panics
    ///
    /// Where it throws.
    #[track_caller]
    pub fn evaluate(&mut self, tab: &Tab, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call(Some(tab), "Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    #[track_caller]
    fn call(&mut self, tab: Option<&Tab>, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(tab) = tab {
            message["sessionId"] = tab.session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap_or_else(|error| panic!("the browser is gone: {error}"));
        let give_up = Instant::now() + PATIENCE;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let answer = self.from.recv_timeout(left.max(Duration::from_millis(1)));
            let mut answer = answer.unwrap_or_else(|error| panic!("no answer to {method}: {error}"));
            // What else comes are events.
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked first, so that its helpers go with it.
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let give_up = Instant::now() + Duration::from_secs(5);
        while Instant::now() < give_up {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
