//! The original's JSON, in at the collector and out at the displayer.

use std::time::Duration;

use dotter_dot::Timestamp;
use dotter_e2e::{Pipeline, get, get_json, post, until, until_some};
use serde_json::json;

#[test]
fn pairs_posted_as_curl_does_come_back_from_the_collector_and_the_displayer() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    pipeline.start_displayer();
    let (collector, displayer) = (pipeline.collector_address(), pipeline.displayer_address());
    let now = Timestamp::now().nanos() / 1_000_000_000;
    let (first, second, third) = (now - 30, now - 20, now - 10);
    let reply =
        post(collector, "/data?series=data", &format!("[[{first}, 1.5], [{second}, 2]]")).expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let body = format!(r#"[{{"series": "room.temperature", "dots": [[{third}, 21.25]]}}]"#);
    let reply = post(collector, "/data", &body).expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let reply = post(collector, "/data?series=other", &format!("[[{third}.5, -1e3]]")).expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.body);

    // What was answered with 200 can be read at once.
    let pairs = |path: &str| {
        let answer = get_json(collector, path);
        let pairs = answer.as_array().unwrap_or_else(|| panic!("{path}: {answer}")).iter();
        pairs.map(|pair| (pair[0].as_f64(), pair[1].as_f64())).collect::<Vec<_>>()
    };
    let seconds = |time: u64| Some(time as f64);
    let (one, two) = ((seconds(first), Some(1.5)), (seconds(second), Some(2.0)));
    assert_eq!(pairs("/data?series=data&last=500"), [one, two]);
    assert_eq!(pairs("/data?series=data&last=1"), [two]);
    assert_eq!(pairs("/data?series=other&last=5"), [(Some(third as f64 + 0.5), Some(-1_000.0))]);

    let rendered = until_some("the displayer to have it", || {
        let answer = get_json(displayer, "/render?target=data&from=-1min&format=json");
        let points = answer[0]["datapoints"].as_array()?;
        let values: Vec<f64> = points.iter().filter_map(|point| point[0].as_f64()).collect();
        (values.len() == 2).then_some(values)
    });
    assert_eq!(rendered, [1.5, 2.0]);
    let found = get_json(displayer, "/metrics/find?query=room.*");
    assert_eq!(found[0]["text"], json!("temperature"));
}

/// Shows P26.
#[test]
fn a_body_is_stored_whole_or_not_at_all() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    let address = pipeline.collector_address();
    for body in
        ["", "[", "{}", "[[1]]", "[[1, \"x\"]]", "[[1, 2], [3]]", "[[1e400, 2]]", "[[-1, 2]]", "[[1, 2]] x"]
    {
        let reply = post(address, "/data?series=bad", body).expect("an answer");
        assert!((400..500).contains(&reply.status), "{body}: {} {}", reply.status, reply.body);
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let reply = post(address, "/data?series=bad", &deep).expect("an answer");
    assert!((400..500).contains(&reply.status), "deep: {} {}", reply.status, reply.body);
    let reply = get(address, "/data?series=bad&last=5").expect("an answer");
    assert!(reply.status == 404 || reply.body.trim() == "[]", "{} {}", reply.status, reply.body);
}

/// Shows P26.
#[test]
fn what_was_answered_with_200_survives_kill_9() {
    let mut pipeline = Pipeline::new();
    for n in 0..5_u64 {
        pipeline.start_collector();
        let address = pipeline.collector_address();
        let time = Timestamp::now().saturating_sub(Duration::from_secs(60 - n)).as_secs_f64();
        until("a 200", || {
            post(address, "/data?series=data", &format!("[[{time}, {n}]]"))
                .is_some_and(|reply| reply.status == 200)
        });
        pipeline.collector.take().expect("just started").kill();
        let values: Vec<f64> = pipeline.store().dots("data").iter().map(|dot| dot.value).collect();
        assert_eq!(values, (0..=n).map(|n| n as f64).collect::<Vec<_>>());
    }
}
