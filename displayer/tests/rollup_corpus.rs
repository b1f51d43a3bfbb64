//! Answers over ranges that are older than the finest retention, beside what Graphite answers on the same data and rules:
//! before any dot has become a step, after all have, and after their minutes have become ten minutes.

mod support;

use std::f64::consts::PI;
use std::path::Path;
use std::sync::LazyLock;

use dotter_dot::{SeriesName, Timestamp};
use dotter_store::{Reader, Writer};
use support::{Displayer, live_through};

/// 2024-03-15 12:00:00 UTC.
const NOW: u64 = 1_710_504_000;
const DAY: u64 = 86_400;
const RULES: [(&str, &str); 2] = [
    (
        "storage-schemas.conf",
        "[tensec]\npattern = ^(servers|app|edge)\\.\nretentions = 10s:6h,1m:7d,10m:1y\n\
         [biz]\npattern = ^biz\\.\nretentions = 1m:7d,10m:1y\n",
    ),
    (
        "storage-aggregation.conf",
        "[min]\npattern = \\.min$\nxFilesFactor = 0.1\naggregationMethod = min\n\
         [max]\npattern = \\.max$\nxFilesFactor = 0.1\naggregationMethod = max\n\
         [count]\npattern = \\.count$\nxFilesFactor = 0\naggregationMethod = sum\n\
         [last]\npattern = (_bytes|\\.total)$\nxFilesFactor = 0.0\naggregationMethod = last\n\
         [default]\npattern = .*\nxFilesFactor = 0.5\naggregationMethod = average\n",
    ),
];

type Dots = Vec<(SeriesName, Timestamp, f64)>;

/// A number from 0 to 1 that is the same each time: the first six bytes of a hash of `key/i`.
fn random(key: &str, i: u64) -> f64 {
    let hash = sha256(format!("{key}/{i}").as_bytes());
    let word = hash[..6].iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    word as f64 / (1_u64 << 48) as f64
}

/// The constants of SHA-256: the first 32 bits of the fractional parts of the square roots of the first 8 primes, and of
/// the cube roots of the first 64.
static CONSTANTS: LazyLock<([u32; 8], [u32; 64])> = LazyLock::new(|| {
    let primes: Vec<u64> = (2..).filter(|n: &u64| (2..*n).all(|d| !n.is_multiple_of(d))).take(64).collect();
    // The greatest whole number of which that power is no more than the prime, both shifted.
    let root = |prime: u64, power: u32| {
        let most = u128::from(prime) << (32 * power);
        let with = |root: u128, bit: u32| root | 1 << bit;
        (0..37)
            .rev()
            .fold(0, |root, bit| if with(root, bit).pow(power) <= most { with(root, bit) } else { root })
            as u32
    };
    (std::array::from_fn(|index| root(primes[index], 2)), std::array::from_fn(|index| root(primes[index], 3)))
});

/// Source: FIPS 180-4, for texts of less than 56 bytes.
fn sha256(text: &[u8]) -> [u8; 32] {
    let (start, constants) = &*CONSTANTS;
    let mut state = *start;
    let mut block = [0_u8; 64];
    block[..text.len()].copy_from_slice(text);
    block[text.len()] = 0x80;
    block[56..].copy_from_slice(&(text.len() as u64 * 8).to_be_bytes());
    let mut words: Vec<u32> =
        block.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
    for t in 16..64 {
        let (a, b) = (words[t - 15], words[t - 2]);
        let a = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
        let b = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
        words.push(words[t - 16].wrapping_add(a).wrapping_add(words[t - 7]).wrapping_add(b));
    }
    let mut v = state;
    for t in 0..64 {
        let sum = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
        let choice = (v[4] & v[5]) ^ (!v[4] & v[6]);
        let first = v[7].wrapping_add(sum).wrapping_add(choice);
        let first = first.wrapping_add(constants[t]).wrapping_add(words[t]);
        let sum = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
        let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        v.rotate_right(1);
        v[4] = v[4].wrapping_add(first);
        v[0] = first.wrapping_add(sum).wrapping_add(majority);
    }
    state.iter_mut().zip(&v).for_each(|(word, more)| *word = word.wrapping_add(*more));
    let bytes: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.try_into().unwrap()
}

/// Rounded to some digits behind the point.
fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.digits$}").parse().unwrap()
}

/// Adds a series whose last dot is at [`NOW`].
///
/// - `value`: of the dot with that index, and at that time; `None` where there is none
fn series(
    dots: &mut Dots,
    name: &str,
    step: u64,
    count: u64,
    mut value: impl FnMut(u64, u64) -> Option<f64>,
) {
    let name = SeriesName::new(name).unwrap();
    for i in 0..count {
        let time = NOW - (count - 1 - i) * step;
        if let Some(value) = value(i, time) {
            dots.push((name.clone(), Timestamp::from_secs(time).unwrap(), value));
        }
    }
}

/// Three hours of dots ten seconds apart, two days of dots a minute apart.
fn data() -> Dots {
    let mut dots = Dots::new();
    let mut tens = |name: &str, value: &mut dyn FnMut(u64) -> Option<f64>| {
        series(&mut dots, name, 10, 1_080, |i, _| value(i));
    };
    let cpu = |host: &str, base: f64, most: f64, period: f64, i: u64| {
        let wave = most * (2.0 * PI * i as f64 / period).sin();
        Some(rounded(base + wave + 4.0 * (random(&format!("{host}u"), i) - 0.5), 3))
    };
    tens("servers.web01.cpu.user", &mut |i| cpu("web01", 40.0, 20.0, 180.0, i));
    tens("servers.db01.cpu.user", &mut |i| {
        if random("db01gap", i) < 0.25 { None } else { cpu("db01", 20.0, 5.0, 90.0, i) }
    });
    let mut received = 0.0;
    tens("servers.web01.net.eth0.rx_bytes", &mut |i| {
        received += (125_000.0 * (0.5 + random("rx1", i))).trunc();
        received = if i == 500 || i == 1_040 { 0.0 } else { received };
        Some(received)
    });
    for (host, mean) in [("web01", 120.0), ("web02", 80.0), ("web03", 0.0)] {
        let key = format!("{host}r");
        tens(&format!("servers.{host}.requests.count"), &mut |i| {
            Some((mean * (0.5 + random(&key, i))).trunc())
        });
    }
    tens("app.api.latency.max", &mut |i| Some(rounded(200.0 + 300.0 * random("lmax", i), 3)));
    tens("app.api.latency.min", &mut |i| Some(rounded(1.0 + random("lmin", i), 3)));
    tens("app.api.errors.count", &mut |i| {
        (random("errp", i) < 0.05).then(|| (1.0 + 9.0 * random("err", i)).trunc())
    });
    tens("edge.huge", &mut |i| Some(format!("{}e300", 1 + i % 9).parse().unwrap()));
    tens("edge.sparse", &mut |i| (i % 11 == 4).then(|| rounded(10.0 * random("sparse", i), 3)));
    tens("edge.burst", &mut |i| (i / 25 % 2 == 1).then(|| rounded(5.0 + random("burst", i), 3)));
    tens("edge.onepoint", &mut |i| (i == 1_080 - 31).then_some(7.5));
    // Anywhere within ten seconds, and sometimes two there.
    let jitter = SeriesName::new("edge.jitter").unwrap();
    for i in 0..360 {
        let mut dot = |after: u64, value: u64| {
            let time = Timestamp::from_secs(NOW - 3_600 + 10 * i + after).unwrap();
            dots.push((jitter.clone(), time, value as f64));
        };
        dot((9.0 * random("jit", i)) as u64, i);
        if i % 12 == 0 {
            dot(9, 1_000 + i);
        }
    }
    series(&mut dots, "biz.orders.us.count", 60, 2_880, |i, time| {
        let wave = 1.2 + (2.0 * PI * (time % DAY) as f64 / DAY as f64).sin();
        Some((60.0 * wave * (0.8 + 0.4 * random("us", i))).trunc())
    });
    series(&mut dots, "biz.revenue.us", 60, 2_880, |i, _| {
        (i % 40 != 0).then(|| rounded(900.0 * (0.6 + 0.8 * random("revus", i)), 2))
    });
    dots
}

/// A request, and of each series of its answer the name and the points, null or not.
type Answer<'a> = (&'a str, Vec<(&'a str, Vec<(Option<f64>, u64)>)>);

/// What [`answers.txt`](rollup_corpus/answers.txt) says.
fn answers(text: &str) -> Vec<Answer<'_>> {
    let mut answers: Vec<Answer<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(request) = line.strip_prefix("? ") {
            answers.push((request, Vec::new()));
            continue;
        }
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let (mut time, step): (u64, u64) =
            (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
        let mut points = Vec::new();
        for word in words {
            let (value, count) = match (word, word.strip_suffix('*')) {
                ("-", _) => (None, 1),
                (_, Some(count)) => (None, count.parse().unwrap()),
                _ => (Some(word.parse().unwrap()), 1),
            };
            for _ in 0..count {
                points.push((value, time));
                time += step;
            }
        }
        answers.last_mut().unwrap().1.push((name, points));
    }
    answers
}

/// Asks for all that `is_asked` and compares; returns how many there were.
fn check(dir: &Path, when: &str, is_asked: impl Fn(&str) -> bool) -> usize {
    let displayer = Displayer::start(dir);
    displayer.wait_for("the store", |displayer| displayer.get("/-/ready").0 == 200);
    let mut count = 0;
    for (request, expected) in answers(include_str!("rollup_corpus/answers.txt")) {
        if !is_asked(request) {
            continue;
        }
        count += 1;
        let found = displayer.json(&format!("/render?{request}&now={NOW}&format=json"));
        let found = found.as_array().unwrap();
        let names: Vec<&str> = found.iter().map(|series| series["target"].as_str().unwrap()).collect();
        let expected_names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected_names, "{when}: {request}");
        for ((name, mut expected), found) in expected.into_iter().zip(found) {
            if request.contains("noNullPoints") {
                expected.retain(|(value, _)| value.is_some());
            }
            let found = found["datapoints"].as_array().unwrap().iter();
            let found: Vec<(Option<f64>, u64)> =
                found.map(|point| (point[0].as_f64(), point[1].as_u64().unwrap())).collect();
            assert_eq!(found.len(), expected.len(), "{when}: {request}: {name}: {found:?}");
            for (found, expected) in found.iter().zip(&expected) {
                let near = match (found.0, expected.0) {
                    (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs(),
                    (None, None) => true,
                    _ => false,
                };
                assert!(
                    near && found.1 == expected.1,
                    "{when}: {request}: {name}: {found:?} for {expected:?}"
                );
            }
        }
    }
    count
}

#[test]
fn old_ranges_are_answered_as_graphite_does_before_and_after_dots_have_become_steps() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (name, text) in RULES {
        std::fs::write(dir.join(name), text).unwrap();
    }
    drop(Writer::open(dir).unwrap());
    let taken = dotter_store::take_rules(dir).unwrap();
    assert!(taken.changed && taken.skipped.is_empty(), "{taken:?}");
    dotter_store::add(dir, data()).unwrap();
    assert_eq!(check(dir, "of dots", |_| true), 27);

    let now = Timestamp::from_secs(NOW).unwrap();
    dotter_store::compact_major(dir, &|| false, &|_, _| ()).unwrap();
    let last = live_through(dir, now, 0..60);
    assert_eq!((last.segments, last.waiting, last.held), (0, 0, 0), "all that is due has gone");
    let span = |name: &str| Reader::open(dir).unwrap().snapshot().span(name);
    assert!(span("servers.web01.cpu.user").is_none() && span("edge.jitter").is_none());
    assert!(span("biz.revenue.us").is_some(), "minutes are kept for a week");
    assert_eq!(check(dir, "of minutes", |_| true), 27);

    // Nine days later only steps of ten minutes are left.
    let last = live_through(dir, now, (60..60 + 9 * 48).step_by(12));
    assert_eq!((last.segments, last.waiting, last.held), (0, 0, 0), "all that is due has gone");
    let snapshot = Reader::open(dir).unwrap().snapshot();
    for name in snapshot.series() {
        let stepped = snapshot.stepped(name.as_str()).unwrap();
        let widths: Vec<u64> = stepped.iter().map(|stepped| stepped.step.as_secs()).collect();
        assert_eq!((snapshot.span(name.as_str()), widths), (None, vec![600]), "{}", name.as_str());
    }
    assert_eq!(check(dir, "of ten minutes", |request| request.contains("from=-8d")), 9);
    assert!(dotter_store::verify(dir).unwrap().damage.is_empty());
}
