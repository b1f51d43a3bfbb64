//! `/data` for everyone: JSON in, the newest dots out.

mod support;

use support::*;

#[test]
fn what_is_posted_can_be_read_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    assert_eq!(collector.get("/data?series=data"), (200, "[]".into()), "nobody has said anything yet");
    let (status, text) = collector.post_json("[[1710504000.25, 1.5], [1710504001, 2]]");
    assert_eq!((status, text.as_str()), (200, "{\"stored\":2,\"durable\":true}"));
    assert_eq!(collector.get("/data?series=data"), (200, "[[1710504000.25,1.5],[1710504001,2.0]]".into()));
    // As curl -d sends it, into another series.
    let form = "application/x-www-form-urlencoded";
    let (status, _) =
        collector.post("/data?series=room.temperature", form, b"[[\"2024-03-15T12:00:00Z\", 21]]");
    assert_eq!(status, 200);
    assert_eq!(collector.get("/data?series=room.temperature").1, "[[1710504000,21.0]]");
    let body = "[{\"series\": \"a;z=1;b=2\", \"format\": \"F\", \"dots\": [[2, 3], [1, 4]]}, {\"dots\": [[5, 6]], \"series\": \"b\"}]";
    assert_eq!(collector.post_json(body).1, "{\"stored\":3,\"durable\":true}");
    assert_eq!(collector.get("/data?series=a%3Bb%3D2%3Bz%3D1").1, "[[1,4.0],[2,3.0]]");
    assert_eq!(collector.get("/data?series=b").1, "[[5,6.0]]");
    assert_eq!(collector.get("/data?series=unknown"), (200, "[]".into()));
}

#[test]
fn a_repeat_is_harmless_and_of_equal_times_the_last_counts() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    for body in ["[[1, 2], [2, 3]]", "[[1, 2], [2, 3]]", "[[2, 4], [2, 5]]"] {
        assert_eq!(collector.post_json(body).0, 200);
    }
    assert_eq!(collector.get("/data?series=data").1, "[[1,2.0],[2,5.0]]");
}

#[test]
fn a_read_takes_a_count_and_a_range() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let body: Vec<_> = (0..1000).map(|n| format!("[{n}.5, {n}]")).collect();
    collector.post_json(&format!("[{}]", body.join(",")));
    let read = |query: &str| {
        let (status, text) = collector.get(&format!("/data?series=data{query}"));
        assert_eq!(status, 200, "{text}");
        let times: Vec<f64> = text
            .trim_matches(['[', ']'])
            .split("],[")
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once(',').unwrap().0.parse().unwrap())
            .collect();
        (times.len(), times.first().copied(), times.last().copied())
    };
    assert_eq!(read(""), (500, Some(500.5), Some(999.5)));
    assert_eq!(read("&last=3"), (3, Some(997.5), Some(999.5)));
    assert_eq!(read("&last=200000"), (1000, Some(0.5), Some(999.5)));
    assert_eq!(read("&from=10&until=20"), (10, Some(10.5), Some(19.5)));
    assert_eq!(read("&from=10.5&until=20.5"), (10, Some(10.5), Some(19.5)), "half-open");
    assert_eq!(read("&until=20&last=2"), (2, Some(18.5), Some(19.5)));
    assert_eq!(read("&from=998&last=7"), (2, Some(998.5), Some(999.5)));
    assert_eq!(read("&from=1970-01-01T00:16:39Z"), (1, Some(999.5), Some(999.5)));
    assert_eq!(read("&from=20&until=10"), (0, None, None));
    for query in ["last=0", "last=200001", "last=x", "last=-1", "from=now", "until=1e99"] {
        let (status, text) = collector.get(&format!("/data?series=data&{query}"));
        assert_eq!(status, 400, "{query}: {text}");
    }
    for query in ["series=", "series=a%0A"] {
        let (status, text) = collector.get(&format!("/data?{query}"));
        assert_eq!(status, 400, "{query}: {text}");
    }
}

#[test]
fn a_range_is_given_out_whole_or_not_at_all_and_a_cut_is_told() {
    const DOTS: u64 = 200_001;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("store");
    let series = dotter_dot::SeriesName::new("a").unwrap();
    let dot = |n: u64| (series.clone(), dotter_dot::Timestamp::from_secs(n).unwrap(), n as f64);
    dotter_store::add(&data, (0..DOTS).map(dot).collect::<Vec<_>>()).unwrap();
    let collector = Collector::start(&data);
    // Status, how many dots, the first of them, and what was said of a cut.
    let ask = |query: &str| {
        let url = format!("http://{}/data?series=a{query}", collector.http());
        let answer = ureq::get(url).config().http_status_as_error(false).build().call();
        let mut answer = answer.unwrap();
        let cut = answer.headers().get("X-Dotter-Cut").map(|text| text.to_str().unwrap().to_owned());
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        let first = text.trim_start_matches('[').split(',').next().unwrap().to_owned();
        (answer.status().as_u16(), text.matches("],[").count() + 1, first, cut, text)
    };
    let whole = |query: &str, count: usize, first: &str| {
        let (status, found, begins, cut, _) = ask(query);
        assert_eq!((status, found, begins.as_str(), cut), (200, count, first, None), "{query}");
    };
    // More than the 500 that are given out where nothing is said of how many.
    whole("&from=100", 199_901, "100");
    whole("&from=1", 200_000, "1");
    whole("&until=200000", 200_000, "0");
    whole("&from=50&until=1950", 1900, "50");
    whole("&from=50&until=60&last=10", 10, "50");
    for query in ["&from=0", "&until=200001"] {
        let (status, _, _, _, text) = ask(query);
        assert_eq!(status, 413, "{query}: {text}");
        assert!(text.contains("found about 200001 dots") && text.contains("last=200000"), "{query}: {text}");
    }
    let cut = |query: &str, count: usize, first: &str, older: usize| {
        let (status, found, begins, cut, _) = ask(query);
        assert_eq!((status, found, begins.as_str()), (200, count, first), "{query}");
        let expected = format!("the newest {count} dots, about {older} older ones are left out");
        assert!(cut.as_ref().is_some_and(|text| text.starts_with(&expected)), "{query}: {cut:?}");
    };
    cut("", 500, "199501", 199_501);
    cut("&last=200000", 200_000, "1", 1);
    let (.., told, _) = ask("&from=50&until=60&last=9");
    assert!(told.is_some_and(|text| text.starts_with("the newest 9 dots")));
    // What the answer to HEAD says is what the one to GET would.
    let url = format!("http://{}/data?series=a", collector.http());
    assert!(ureq::head(url).call().unwrap().headers().contains_key("X-Dotter-Cut"));
}

#[test]
fn what_names_no_series_is_never_the_series_data() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let ask = |method: &str, target: &str, body: &str| {
        let url = format!("http://{}{target}", collector.http());
        let answer = match method {
            "GET" => return collector.get(target),
            "PUT" => ureq::put(url).config().http_status_as_error(false).build().send(body),
            "DELETE" => ureq::delete(url).config().http_status_as_error(false).build().call(),
            _ => return collector.post(target, "application/json", body.as_bytes()),
        };
        let mut answer = answer.unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let check = |method: &str, target: &str, body: &str, expected: &str| {
        let (status, text) = ask(method, target, body);
        assert_eq!(status, 400, "{method} {target}: {text}");
        assert!(text.contains(expected), "{method} {target}: {text}");
    };
    let unknown = |found: &str, nearest: &str| match nearest {
        "" => format!("parameter '{found}' is not known, expected none"),
        _ => format!("parameter '{found}' is not known, the nearest is '{nearest}'"),
    };
    check("POST", "/data?serise=room.x", "[[1, 1]]", &unknown("serise", "series"));
    check("POST", "/data?series=a&last=1", "[[1, 1]]", &unknown("last", "series"));
    check("POST", "/data?series=a&series=b", "[[1, 1]]", "'series' stands there 2 times");
    check("POST", "/data", "[[1, 1]]", "expected ?series=NAME in the address");
    check("POST", "/data", "[{\"series\": \"a\", \"dots\": [[1, 1]]}, [1, 1]]", "expected ?series=NAME");
    check("PUT", "/?series=a", "a 1 1", &unknown("series", ""));
    assert_eq!(snapshot(dir.path()).series_with_prefix("").len(), 0, "none of it was stored");

    assert_eq!(collector.post_json("[[1, 2], [3, 4]]").0, 200);
    check("GET", "/data", "", "found no parameter 'series'");
    check("GET", "/data?serie=data", "", &unknown("serie", "series"));
    check("GET", "/data?series=data&form=1", "", &unknown("form", "from"));
    check("GET", "/data?series=data&last=1&last=2", "", "'last' stands there 2 times");
    check("GET", "/store/data?last=2", "", &unknown("last", "after"));
    check("GET", "/store/data?humann", "", &unknown("humann", "human"));
    check("GET", "/store/data?human=no", "", "'human' has the value 'no', expected none");
    check("GET", "/store/data?fromat", "", &unknown("fromat", "format"));
    for target in ["/metrics", "/-/healthy", "/-/ready"] {
        check("GET", &format!("{target}?verbose=1"), "", &unknown("verbose", ""));
    }
    // Passed over, it would have taken everything away.
    check("DELETE", "/store/data?befor=2", "", &unknown("befor", "before"));
    check("DELETE", "/store/data?human", "", "parameter 'human' is not known");
    assert_eq!(collector.get("/store/data").1, "data\t1000000000\t2\ndata\t3000000000\t4\n");
    let objects = "[{\"series\": \"a\", \"dots\": [[1, 1]]}]";
    assert_eq!(collector.post("/data", "application/json", objects.as_bytes()).0, 200);
}

#[test]
fn a_bad_body_stores_nothing_and_is_told_why() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let check = |body: &str, expected: &str| {
        let (status, text) = collector.post_json(body);
        let body = &body[..body.len().min(100)];
        assert_eq!(status, 400, "{body}: {text}");
        assert!(text.contains(expected), "{body}: {text}");
    };
    check("", "EOF");
    check("hello", "expected value at line 1 column 1");
    check("[[1, 2], [3, null]]", "found null as a value, expected a number");
    check("[[1, 2], [3, 1e400]]", "does not fit");
    check("[[1, 2]] [[3, 4]]", "trailing characters");
    check(
        "[{\"series\": \"data\", \"dots\": [[1, 2]]}, {\"series\": \"\", \"dots\": []}]",
        "series name is empty",
    );
    check("[{\"series\": \"data\", \"format\": \"fF\", \"dots\": [[1, 2]]}]", "expected [time, 2 values]");
    check(&"[".repeat(100_000), "EOF");
    check(&("[".repeat(100_000) + &"]".repeat(100_000)), "found a list as a time");
    check(&format!("[[1, {}", "[".repeat(100_000)), "EOF");
    let (status, _) = collector.post("/data?series=%FF", "application/json", b"[[1, 2]]");
    assert_eq!(status, 200, "what is not UTF-8 in a query has been replaced by the front door");
    assert_eq!(collector.get("/data?series=data").1, "[]");
    assert_eq!(collector.metric("dots_total"), 1.0);
}

#[test]
fn a_body_larger_than_a_frame_is_one_transaction_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(dir.path(), &["--graphite", "off", "--max-body", "16MiB"]);
    const DOTS: usize = 600_000;
    let mut body: String = (0..DOTS).map(|n| format!("[{n},{}.5],", n % 1000)).collect();
    body.pop();
    let (status, text) = collector.post_json(&format!("[{body}]"));
    assert_eq!((status, text), (200, format!("{{\"stored\":{DOTS},\"durable\":true}}")));
    let found = dots(&snapshot(dir.path()), "data");
    assert_eq!(found.len(), DOTS);
    assert_eq!(found[DOTS - 1], ((DOTS as u64 - 1) * 1_000_000_000, 999.5));
    let (_, text) = collector.get("/data?series=data&last=1");
    assert_eq!(text, format!("[[{},999.5]]", DOTS - 1));
    // What comes later counts more, in the log as in a segment.
    collector.post_json(&format!("[[{}, 7]]", DOTS - 1));
    assert_eq!(collector.get("/data?series=data&last=1").1, format!("[[{},7.0]]", DOTS - 1));
}

#[test]
fn a_body_above_the_limit_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(dir.path(), &["--graphite", "off", "--max-body", "1KB"]);
    let body = format!("[[1, 2]{}]", " ".repeat(1000));
    let (status, text) = collector.post_json(&body);
    assert_eq!(status, 413, "{text}");
    assert_eq!(collector.post_json("[[1, 2]]").0, 200);
}

#[test]
fn other_pages_and_methods_say_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    assert_eq!(collector.get("/-/healthy"), (200, "ok\n".into()));
    assert_eq!(collector.get("/-/ready"), (200, "ok\n".into()));
    let (status, text) = collector.get("/");
    assert_eq!(status, 404);
    assert!(text.contains("/data"), "{text}");
    assert_eq!(collector.post("/metrics", "text/plain", b"").0, 405);
    let (status, text) = collector.get("/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("\ndotter_collector_healthy 1\n"), "{text}");
}
