//! The page in a real browser: a plot is there, it is live, and it moves.

use std::process::Command;

use dotter_dot::Timestamp;
use dotter_e2e::{Browser, Pipeline, Process, get_json, post, program, until, until_some};
use serde_json::{Value, json};

/// What a reader sees of the live page.
const LOOK: &str = r#"(() => {
    const canvas = document.querySelector(".plot canvas");
    if (!canvas || !canvas.width) return null;
    const { width, height } = canvas;
    const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
    let coloured = 0, newest = 0;
    for (let at = 0; at < pixels.length; at += 4) {
        const [red, green, blue, alpha] = [pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]];
        // Lines have a colour; axes, grid and text are grey.
        if (alpha < 128 || Math.max(red, green, blue) - Math.min(red, green, blue) < 48) continue;
        coloured++;
        newest = Math.max(newest, (at / 4) % width);
    }
    return {
        status: document.getElementById("status-text").textContent,
        last: document.querySelector(".legend-row:not(.legend-head) .number")?.textContent,
        picture: canvas.toDataURL(),
        coloured,
        newest: newest / width,
    };
})()"#;

/// As on a busy machine: what the server answers is there long before the plots have their size.
const DRAW_LATE: &str = r#"{
    const Observer = ResizeObserver;
    window.ResizeObserver = class extends Observer {
        constructor(call) { super((...seen) => setTimeout(() => call(...seen), 1000)); }
    };
}"#;

/// What a reader sees of the page of pictures.
const LOOK_AT_PICTURE: &str = r#"(() => {
    const picture = document.querySelector("main img");
    return picture && picture.complete && picture.naturalWidth > 0 ? picture.src : null;
})()"#;

/// A pipeline whose displayer has the live page in it.
///
/// # Panics
///
/// Where it was built without npm: what a test shows of the live page is not shown by the page of pictures.
fn with_live_page() -> Pipeline {
    let version = Process::start(Command::new(program("dotter-displayer")).arg("--version")).finish();
    assert!(!version.contains("pictures"), "the displayer was built without npm, install it: {version}");
    Pipeline::start()
}

/// A random walk in the pipeline's ring, 20 dots a second.
fn walk(pipeline: &Pipeline) -> Process {
    let mut walk = Command::new(program("dotter-publisher"));
    Process::start(walk.arg("walk").arg(pipeline.ring()).args(["10000", "--rate", "20"]))
}

#[test]
fn the_page_shows_a_live_plot_that_moves() {
    let mut browser = Browser::start();
    let pipeline = with_live_page();
    let _walk = walk(&pipeline);
    let address = pipeline.displayer_address();
    until("the series", || {
        get_json(address, "/metrics/index.json").as_array().is_some_and(|all| !all.is_empty())
    });
    let tab = browser.open(&format!("http://{address}/"));
    let mut look = || {
        let seen = browser.evaluate(&tab, LOOK);
        let is_live = seen["status"].as_str().is_some_and(|status| status.starts_with("Live"));
        let is_drawn = seen["coloured"].as_u64().is_some_and(|count| count > 50);
        // The newest dot stands where now is: at the right edge.
        let is_now = seen["newest"].as_f64() > Some(0.9);
        let is_told = seen["last"].as_str().is_some_and(|last| last.contains(|c: char| c.is_ascii_digit()));
        (is_live && is_drawn && is_now && is_told).then_some(seen)
    };
    let first: Value = until_some("a live plot", &mut look);
    let differs = |next: &Value, what: &str| next[what] != first[what];
    until("the plot to move and its newest dot to change", || {
        look().is_some_and(|next| differs(&next, "picture") && differs(&next, "last"))
    });
}

#[test]
fn every_plot_shows_what_was_there_before_the_page_was_opened() {
    let mut browser = Browser::start();
    let pipeline = with_live_page();
    let now = Timestamp::now().as_secs_f64();
    // Two series a plot, and more plots than fit on a screen. Nothing is published later.
    let series: Vec<Value> = (0..12)
        .map(|n| {
            let dots: Vec<Value> = (1..20).map(|ago| json!([now - ago as f64, n * 10 + ago])).collect();
            json!({ "series": format!("app.kind{}.line{}", n / 2, n % 2), "dots": dots })
        })
        .collect();
    let posted = post(pipeline.collector_address(), "/data", &Value::from(series).to_string());
    assert_eq!(posted.map(|reply| reply.status), Some(200));
    let address = pipeline.displayer_address();
    until("the series", || {
        get_json(address, "/metrics/index.json").as_array().is_some_and(|all| all.len() >= 12)
    });
    let names = (0..12).map(|n| format!("&s=app.kind{}.line{}", n / 2, n % 2));
    let state: String = names
        .enumerate()
        .map(|(n, name)| if n % 2 == 0 { format!("&g=app.kind{}{name}", n / 2) } else { name })
        .collect();
    let tab = browser.open_with(DRAW_LATE, &format!("http://{address}/#w=1m{state}"));
    for plot in 0..6 {
        let look = format!(
            r#"(() => {{
                const plot = document.querySelectorAll(".plot")[{plot}];
                plot?.scrollIntoView();
                const rows = [...plot?.querySelectorAll(".legend-row:not(.legend-head)") ?? []];
                return rows.map((row) => row.querySelector(".number").textContent).join(" ");
            }})()"#
        );
        let last = format!("{} {}", plot * 20 + 1, plot * 20 + 11);
        until(&format!("{last} in plot {plot}"), || browser.evaluate(&tab, &look).as_str() == Some(&last));
    }
}

#[test]
fn the_page_tells_when_the_displayer_is_gone_and_goes_on_when_it_is_back() {
    let mut browser = Browser::start();
    let mut pipeline = with_live_page();
    let _walk = walk(&pipeline);
    let address = pipeline.displayer_address();
    until("the series", || {
        get_json(address, "/metrics/index.json").as_array().is_some_and(|all| !all.is_empty())
    });
    let tab = browser.open(&format!("http://{address}/#w=1m&g=walk&s=data"));
    let status = |browser: &mut Browser| {
        let text = browser.evaluate(&tab, "document.getElementById('status-text')?.textContent ?? ''");
        text.as_str().unwrap_or_default().to_owned()
    };
    until("a live page", || status(&mut browser).starts_with("Live"));
    pipeline.displayer.take().expect("it runs").kill();
    until("the page to notice", || status(&mut browser).starts_with("Reconnecting"));
    pipeline.start_displayer();
    until("a live page again", || status(&mut browser).starts_with("Live"));
}

#[test]
fn the_page_without_scripts_shows_pictures_that_move() {
    let mut browser = Browser::start();
    let pipeline = Pipeline::start();
    let _walk = walk(&pipeline);
    let address = pipeline.displayer_address();
    until("the series", || {
        get_json(address, "/metrics/index.json").as_array().is_some_and(|all| !all.is_empty())
    });
    let tab = browser.open(&format!("http://{address}/?static=1"));
    let mut look = || browser.evaluate(&tab, LOOK_AT_PICTURE).as_str().map(str::to_owned);
    let first = until_some("a picture", &mut look);
    until("the next picture", || look().is_some_and(|next| next != first));
}
