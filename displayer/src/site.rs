//! Which page answers which request.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dotter_dot::SeriesName;
use dotter_http::{Counters, LiveCounters, Method, Request, Response, event_stream};
use dotter_query::{Error, Pattern, Steps};

use crate::feed::View;
use crate::follower::Followed;
use crate::follows::{COMPARISONS_MAX, Interest};
use crate::form::{Form, refusal, wrong};
use crate::live::{Ask, QUEUE_BYTES_MAX};
use crate::pulse::busiest_first;
use crate::{find_page, losses, metrics, page, raw, render_page, series_list};

/// Paths whose POST is a form that only reads.
pub(crate) const READING_POSTS: [&str; 3] = ["/render", "/metrics/find", "/dots"];

/// Nothing from elsewhere is loaded, nothing elsewhere may frame or read this.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Series that one viewer may name.
const FOLLOWED_MAX: usize = 1_000;

/// Everything that answers.
pub(crate) struct Site {
    pub(crate) followed: Arc<Followed>,
    pub(crate) door: LiveCounters,
    steps: Mutex<Steps>,
}

impl Site {
    pub(crate) fn new(followed: Arc<Followed>, door: LiveCounters) -> Site {
        Site { followed, door, steps: Mutex::default() }
    }

    /// The answer to any request.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        self.route(request)
            .header("Content-Security-Policy", POLICY)
            .header("X-Content-Type-Options", "nosniff")
            .header("Referrer-Policy", "no-referrer")
            .header("Cross-Origin-Resource-Policy", "same-origin")
    }

    fn route(&self, request: &Request) -> Response {
        let path = match request.path.as_str() {
            "/" => "/",
            path => path.trim_end_matches('/'),
        };
        let reads = matches!(request.method, Method::Get | Method::Head)
            || request.method == Method::Post && READING_POSTS.contains(&path);
        if !reads {
            let method = request.method.as_str();
            return Response::text(405, format!("{method} is not taken at {path}, expected GET\n"))
                .header("Allow", "GET, HEAD");
        }
        let form = Form::of(request);
        let with =
            |answer: fn(&View, &Form) -> Result<Response, Error>| self.on_view(|view| answer(view, &form));
        match path {
            "/" => self.front(request, &form),
            "/render" => self.on_view(|view| render_page::answer(view, &self.steps, &form)),
            "/metrics/find" => with(find_page::answer),
            "/metrics/index.json" => with(find_page::index),
            "/dots" => with(raw::answer),
            "/live" if request.method == Method::Head => Response::new(200, "text/event-stream", Vec::new()),
            "/live" => self.live(request, &form).unwrap_or_else(|error| refusal(&error)),
            "/api/series" => self.on_view(|view| series_list::answer(view, &self.followed, &form)),
            "/api/losses" => self.on_view(|view| Ok(losses::answer(view))),
            "/-/healthy" if self.followed.watched.is_healthy() => Response::text(200, "healthy\n"),
            "/-/healthy" => Response::text(503, "the store was not looked at for seconds\n"),
            "/-/ready" => self.on_view(|_| Ok(Response::text(200, "ready\n"))),
            "/metrics" => metrics::answer(&self.followed, &self.counters()),
            _ => page::file(request)
                .unwrap_or_else(|| Response::text(404, format!("there is no page {path}\n"))),
        }
    }

    fn counters(&self) -> Counters {
        self.door.snapshot()
    }

    /// An answer that needs a store.
    fn on_view(&self, answer: impl FnOnce(&View) -> Result<Response, Error>) -> Response {
        match self.followed.watched.view() {
            Ok(view) => {
                answer(&view).unwrap_or_else(|error| refusal(&error)).header("Cache-Control", "no-store")
            }
            Err(reason) => {
                Response::text(503, format!("waiting for a store: {reason}\n")).header("Retry-After", "1")
            }
        }
    }

    fn front(&self, request: &Request, form: &Form) -> Response {
        if !page::is_pictures(form) {
            return page::index(request);
        }
        let view = self.followed.watched.view();
        let active = self.followed.pulse().active();
        let busiest = busiest_first(active);
        page::pictures(view.as_deref().map_err(String::as_str), &busiest, form)
    }

    /// `/live?series=NAME&series=NAME` or `?match=PATTERN`, with `max=` dots of a series in one event and
    /// `after=` a position to continue from; `Last-Event-ID` wins over that.
    fn live(&self, request: &Request, form: &Form) -> Result<Response, Error> {
        let mut names = HashSet::new();
        for text in form.all("series") {
            names.insert(SeriesName::new(text).map_err(|_| wrong("series", text, "the name of a series"))?);
        }
        let mut patterns = Vec::new();
        for text in form.all("match") {
            patterns.push(Pattern::new(text).map_err(|error| Error::Target {
                target: text.chars().take(80).collect(),
                column: error.column,
                reason: error.reason,
            })?);
        }
        let over_budget = |what, found: usize, limit: usize| Error::OverBudget {
            what,
            found: found as u64,
            limit: limit as u64,
        };
        if names.len() > FOLLOWED_MAX {
            return Err(over_budget("series", names.len(), FOLLOWED_MAX));
        }
        if !names.is_empty() && !patterns.is_empty() {
            return Err(wrong(
                "match",
                form.get("match").unwrap_or_default(),
                "either series or match, not both",
            ));
        }
        let interest =
            if patterns.is_empty() { Interest::Names(names) } else { Interest::Patterns(patterns) };
        let comparisons = interest.comparisons();
        if comparisons > COMPARISONS_MAX {
            let what = "patterns, braces with wildcards written out";
            return Err(over_budget(what, comparisons, COMPARISONS_MAX));
        }
        let after = match request.headers.get("Last-Event-ID") {
            Some(text) => text.trim().parse().ok(),
            None => form.number("after", u64::MAX)?,
        };
        let dots_max =
            form.number("max", u64::MAX)?.map(|max| usize::try_from(max.max(4)).unwrap_or(usize::MAX));
        let (sender, response) = event_stream(QUEUE_BYTES_MAX);
        let missed = after.and_then(|after| self.followed.live().missed(after));
        let told = missed.as_ref().map_or_else(Vec::new, |missed| missed.write(&interest, dots_max));
        let after = missed.map(|missed| missed.continues_after()).or(after);
        let joined =
            self.followed.live().join(Ask { interest, dots_max, after }, told, sender, Instant::now());
        Ok(match joined {
            Ok(()) => response,
            Err(full) => Response::text(429, format!("cannot follow: {full}\n")).header("Retry-After", "10"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use crate::feed::{ApplicationLosses, LossSpan};
    use crate::fixture::Memory;
    use crate::follower::Follower;
    use dotter_daemon::Log;
    use dotter_dot::{Reason, TimeRange, Timestamp};
    use dotter_http::Headers;
    use serde_json::{Value, json};

    struct Shown {
        memory: Memory,
        site: Site,
        follower: Follower,
    }

    impl Shown {
        fn new(memory: Memory) -> Shown {
            let followed = Arc::new(Followed::new());
            let follower = Follower::new(Box::new(memory.clone()), followed.clone(), Log::new("test"));
            Shown { memory, site: Site::new(followed, LiveCounters::default()), follower }
        }

        fn look(&mut self) -> bool {
            self.follower.look(Instant::now())
        }

        fn get(&self, target: &str) -> (u16, String) {
            let response = self.site.answer(&Request::new(Method::Get, target));
            (response.status(), String::from_utf8_lossy(response.body()).into_owned())
        }

        fn json(&self, target: &str) -> Value {
            let (status, body) = self.get(target);
            assert_eq!(status, 200, "{target}: {body}");
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{target}: {error}: {body}"))
        }
    }

    /// `host.cpu.user` and `host.cpu.idle` each second from 1000 to 1009, and `walk;run=1` at 1004.25.
    fn shown() -> Shown {
        let memory = Memory::open();
        for n in 0..10 {
            let second = 1000.0 + f64::from(n);
            memory.commit(&[("host.cpu.user", second, f64::from(n)), ("host.cpu.idle", second, 100.0)]);
        }
        memory.commit(&[("walk;run=1", 1004.25, 0.5)]);
        let mut shown = Shown::new(memory);
        assert!(shown.look());
        shown
    }

    #[test]
    fn without_a_store_it_waits_and_says_so() {
        let mut shown = Shown::new(Memory::default());
        assert!(!shown.look());
        for path in ["/-/ready", "/render?target=a", "/metrics/find?query=*", "/api/series", "/dots?series=a"]
        {
            let (status, body) = shown.get(path);
            assert_eq!((status, body.as_str()), (503, "waiting for a store: no store here\n"), "{path}");
        }
        assert_eq!(shown.get("/-/healthy").0, 200);
        assert!(shown.get("/?static=1").1.contains("Waiting for a store: no store here"));
        shown.memory.appear();
        shown.look();
        assert_eq!(shown.get("/-/ready"), (200, "ready\n".to_owned()));
        assert_eq!(shown.json("/metrics/index.json"), json!([]));
    }

    #[test]
    fn render_answers_as_graphite_does() {
        let shown = shown();
        assert_eq!(
            shown.json("/render?target=host.cpu.*&from=1000&until=1003"),
            json!([
                {"target": "host.cpu.idle", "tags": {"name": "host.cpu.idle"},
                 "datapoints": [[100.0, 1001], [100.0, 1002], [100.0, 1003]]},
                {"target": "host.cpu.user", "tags": {"name": "host.cpu.user"},
                 "datapoints": [[1.0, 1001], [2.0, 1002], [3.0, 1003]]},
            ])
        );
        let fine = shown.json("/render?target=walk;run=1&from=1004&until=1005&step=0.25&noNullPoints=1");
        assert_eq!(fine[0]["datapoints"], json!([[0.5, 1004.25]]));
        assert_eq!(fine[0]["tags"], json!({"run": "1", "name": "walk"}));
        let merged = shown.json("/render?target=host.cpu.user&from=999&until=1009&maxDataPoints=2");
        assert_eq!(merged[0]["datapoints"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn a_form_is_taken_where_posting_only_reads() {
        let shown = shown();
        let mut request = Request::new(Method::Post, "/render");
        request.headers = Headers::from_iter([("Content-Type", "application/x-www-form-urlencoded")]);
        request.body = b"target=host.cpu.user&from=1000&until=1001".to_vec();
        assert_eq!(shown.site.answer(&request).status(), 200);
        request.path = "/api/series".into();
        assert_eq!(shown.site.answer(&request).status(), 405);
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        let shown = shown();
        let check = |target: &str, status: u16, expected: &str| {
            let (found, body) = shown.get(target);
            assert_eq!(found, status, "{target}: {body}");
            assert!(body.contains(expected), "{target}: {body}");
        };
        check(
            "/render?target=sumSeries(a.*)",
            400,
            "column 1: functions are not served by this version: found 'sumSeries('",
        );
        check("/render", 400, "target");
        check("/render?target=a&format=png", 400, "json or svg");
        check("/render?target=a&from=-1x", 400, "cannot read 'from'");
        check("/render?target=a&from=now&until=now", 400, "same moment");
        check(
            "/render?target=host.cpu.user&from=0&until=now&step=1",
            413,
            "points in the answer, at most 100000",
        );
        check("/render?target=a&jsonp=x", 400, "jsonp");
        check("/metrics/find", 400, "query");
        check("/dots", 400, "series");
        check("/dots?series=", 400, "series");
        check("/live?series=a&match=b", 400, "not both");
        check("/live?match=a..b", 400, "column 3");
        let many = |parameter: &str, count: usize| {
            let each: Vec<String> = (0..count).map(|n| format!("{parameter}=s{n}")).collect();
            format!("/live?{}", each.join("&"))
        };
        check(&many("match", 33), 413, "33 patterns, braces with wildcards written out, at most 32");
        check(&many("match", 600), 413, "600 patterns");
        check("/live?match={a*,b*,c*}.{a*,b*,c*}{1,2,3,4,5,6,7,8,9,10,11}", 413, "35 patterns");
        check(&many("series", 1001), 413, "1001 series, at most 1000");
        check("/api/series?sort=x", 400, "name or rate");
        check("/api/series?q={a,b,c,d,e,f}{a,b,c,d,e,f}*", 413, "36 patterns");
        check("/nosuch", 404, "/nosuch");
    }

    #[test]
    fn dots_are_exact_until_there_are_more_than_fit() {
        let shown = shown();
        let answer = shown.json("/dots?series=host.cpu.user&series=nosuch&from=1001&until=1004");
        assert_eq!(answer["sequence"], 11);
        let series = &answer["series"][0];
        assert_eq!(series["dots"], json!([[1002, 2.0], [1003, 3.0], [1004, 4.0]]));
        assert_eq!((&series["gap"], &series["exact"]), (&json!(2.2), &json!(true)));
        assert_eq!(
            answer["series"][1],
            json!({"name": "nosuch", "gap": null, "count": 0, "exact": true, "dots": []})
        );
        let few = shown.json("/dots?series=host.cpu.user&from=999&until=1009&max=1");
        assert_eq!(few["series"][0]["dots"], json!([[1000, 0.0], [1009, 9.0]]));
        assert_eq!(few["series"][0]["count"], 10);
    }

    #[test]
    fn series_are_listed_searched_and_sorted() {
        let shown = shown();
        let names = |target: &str| -> Vec<String> {
            let page = shown.json(target);
            page["series"]
                .as_array()
                .unwrap()
                .iter()
                .map(|s| s["name"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names("/api/series"), ["host.cpu.idle", "host.cpu.user", "walk;run=1"]);
        assert_eq!(names("/api/series?q=USER"), ["host.cpu.user"]);
        assert_eq!(names("/api/series?offset=1&limit=1"), ["host.cpu.user"]);
        assert_eq!(names("/api/series?sort=rate&limit=2"), ["host.cpu.idle", "host.cpu.user"]);
        let page = shown.json("/api/series?q=walk");
        assert_eq!((&page["total"], &page["all"]), (&json!(1), &json!(3)));
        assert_eq!((&page["series"][0]["time"], &page["series"][0]["value"]), (&json!(1004.25), &json!(0.5)));
    }

    #[test]
    fn losses_are_counted_application_by_application() {
        let mut shown = shown();
        let at = |seconds| Timestamp::from_secs(seconds).unwrap();
        let times = TimeRange::new(at(1), at(3));
        let losses = ApplicationLosses {
            rings: 2,
            stored: 90,
            lost: BTreeMap::from([(Reason::LAPPED, 7)]),
            refused: BTreeMap::from([(Reason::TOO_BIG, 3)]),
            spans: vec![LossSpan { reason: Reason::LAPPED, lost: 7, times }],
        };
        shown.memory.lose("app", losses);
        shown.look();
        assert_eq!(
            shown.json("/api/losses"),
            json!({
                "lost": 7, "refused": 3,
                "applications": [{
                    "application": "app", "rings": 2, "stored": 90,
                    "lost": {"lapped": {"count": 7, "from": 1.0, "until": 3.0}}, "refused": {"too-big": 3},
                }],
                "recent": [{"application": "app", "reason": "lapped", "lost": 7, "from": 1.0, "until": 3.0}],
            })
        );
    }

    #[test]
    fn pictures_are_drawn_by_the_server() {
        let shown = shown();
        let (status, html) = shown.get("/?static=1&w=5min");
        assert_eq!(status, 200);
        assert!(html.contains("target=host.cpu.idle&amp;target=host.cpu.user"), "{html}");
        assert!(html.contains("3 of 3 series"), "{html}");
        let (status, svg) = shown.get("/render?target=host.cpu.*&format=svg&from=999&until=1010&theme=dark");
        assert_eq!(status, 200);
        assert_eq!(svg.matches("<path").count(), 2);
    }

    #[test]
    fn nothing_may_be_loaded_framed_or_read_from_elsewhere() {
        let shown = shown();
        for path in ["/", "/render?target=a", "/nosuch", "/live", "/page.css", "/?static=1"] {
            let response = shown.site.answer(&Request::new(Method::Get, path));
            let header =
                |name: &str| response.headers().find(|(n, _)| *n == name).map(|(_, value)| value.to_owned());
            assert!(header("Content-Security-Policy").unwrap().starts_with("default-src 'none'"), "{path}");
            assert_eq!(header("Access-Control-Allow-Origin"), None);
        }
        let html = shown.get("/?static=1").1;
        assert!(!html.contains("style=") && !html.contains("<style") && !html.contains("onload="));
    }

    #[test]
    fn a_name_that_comes_later_is_found_at_once() {
        let mut shown = shown();
        shown.memory.commit(&[("host.new", 1010.0, 1.0)]);
        shown.look();
        let found = shown.json("/metrics/find?query=host.*");
        let texts: Vec<_> = found.as_array().unwrap().iter().map(|node| node["text"].clone()).collect();
        assert_eq!(texts, ["cpu", "new"]);
    }

    /// One viewer with as many patterns as it may have, one with a single series, a store of 100,000 series.
    #[test]
    fn patterns_are_compared_with_a_name_once_however_often_it_has_news() {
        const NAMES: u64 = 100_000;
        let mut shown = Shown::new(Memory::open());
        shown.look();
        let follow = |shown: &Shown, target: &str| {
            let response = shown.site.answer(&Request::new(Method::Get, target));
            assert_eq!(response.status(), 200);
            response
        };
        let patterns: Vec<String> = (0..32).map(|n| format!("match=*.{n}.q*")).collect();
        let one = follow(&shown, &format!("/live?{}", patterns.join("&")));
        let other = follow(&shown, "/live?series=web.31.q7");
        let names: Vec<String> = (0..NAMES).map(|n| format!("web.{}.q{}", n / 1_000, n % 1_000)).collect();
        for burst in 1..=4_u32 {
            let second = 1000.0 + f64::from(burst);
            let dots: Vec<_> = names.iter().map(|name| (&**name, second, 1.0)).collect();
            shown.memory.commit(&dots);
            // Past the interval between two events.
            shown.follower.look(Instant::now() + Duration::from_secs(burst.into()));
            let live = shown.site.followed.live();
            assert_eq!(live.comparisons(), 32 * NAMES, "after burst {burst}");
            assert_eq!(live.events(), 2 * u64::from(burst), "both viewers were told");
        }
        drop((one, other));
        let _again = follow(&shown, "/live?match=*");
        shown.memory.commit(&[("web.0.q0", 2000.0, 1.0)]);
        shown.follower.look(Instant::now() + Duration::from_secs(9));
        assert_eq!(shown.site.followed.live().comparisons(), 32 * NAMES + 1, "those who left cost nothing");
    }

    #[test]
    fn a_feed_that_begins_anew_is_read_anew() {
        let mut shown = shown();
        shown.memory.commit(&[("missed", 1010.0, 1.0)]);
        shown.memory.reopen();
        shown.look();
        assert_eq!(shown.json("/api/series?q=missed")["total"], 1);
    }

    #[test]
    fn its_own_numbers_are_there_for_prometheus() {
        let (status, text) = shown().get("/metrics");
        assert_eq!(status, 200);
        assert!(text.contains("\ndotter_displayer_series 3\n"), "{text}");
        assert!(text.contains("\ndotter_displayer_live_dots_total 21\n"), "{text}");
    }
}
