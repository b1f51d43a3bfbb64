//! kill -9 of any process at any instant, again and again: every dot for which publish returned is stored exactly once
//! or counted.
//!
//! `DOTTER_KILLS` says how many kills (a hundred: `DOTTER_KILLS=100 cargo test --release -p dotter-e2e --test kill`),
//! `DOTTER_SEED` repeats a run's choices.

use std::thread::sleep;
use std::time::{Duration, Instant};

use dotter_dot::{SeriesName, Timestamp};
use dotter_e2e::oracle::{Published, Sums, Witness, Workload, check_dots, check_ledger};
use dotter_e2e::{Dice, Pipeline, Process, Store, get, until};
use dotter_publisher::Publisher;
use serde_json::Value;

const KILLS: u64 = 50;
const LANES: u32 = 3;
/// Enough to fill two WAL files and more, so that they are sealed and what they leave is compacted.
const DOTS_MIN: u64 = 3_500_000;
/// Dots of a transaction that is added beside the log.
const ADDED: u64 = 500;

/// Whom to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Publisher,
    Broker,
    Collector,
    Displayer,
}

/// A pipeline with a publisher that is always started on the same ring, whatever is left of the last one.
struct World {
    pipeline: Pipeline,
    publisher: Option<Process>,
    workload: Workload,
    witness: Witness,
    /// The longest time from the start of a collector until it was ready.
    slowest_restart: Duration,
}

impl World {
    fn start(workload: Workload) -> World {
        let pipeline = Pipeline::start();
        let publisher = Some(pipeline.load(&workload));
        let witness = Witness::new(LANES);
        World { pipeline, publisher, workload, witness, slowest_restart: Duration::ZERO }
    }

    /// Starts it and lets it get on with its recovery.
    fn launch(&mut self, part: Part) {
        match part {
            Part::Publisher => self.publisher = Some(self.pipeline.load(&self.workload)),
            Part::Broker => self.pipeline.start_broker(),
            Part::Collector => self.pipeline.launch_collector(),
            Part::Displayer => self.pipeline.launch_displayer(),
        }
    }

    /// Starts it; of those who have something to recover, waits until they have.
    fn start_again(&mut self, part: Part) {
        match part {
            Part::Collector => {
                let took = self.pipeline.start_collector();
                self.slowest_restart = self.slowest_restart.max(took);
            }
            Part::Displayer => self.pipeline.start_displayer(),
            Part::Publisher | Part::Broker => self.launch(part),
        }
    }

    fn kill(&mut self, part: Part) {
        let process = match part {
            Part::Publisher => &mut self.publisher,
            Part::Broker => &mut self.pipeline.broker,
            Part::Collector => &mut self.pipeline.collector,
            Part::Displayer => &mut self.pipeline.displayer,
        };
        process.take().expect("it runs").kill();
        // A dead ring stays for two seconds at least, so none is missed.
        self.witness.look(&self.pipeline.rings());
    }

    /// Commits a transaction as a segment, as `dotter-store add` does, whoever is dead at the moment.
    fn add(&self, number: u64) {
        let name = added_name(number);
        let rows: Vec<_> =
            (0..ADDED).map(|n| (name.clone(), Timestamp::from_nanos(1 + n), n as f64)).collect();
        let added = dotter_store::add(self.pipeline.data(), rows);
        assert_eq!(added.unwrap_or_else(|error| panic!("cannot add: {error}")), ADDED);
    }

    /// Ends the publisher as an operator would; what all publishers together have published.
    fn end_publishing(&mut self) -> Vec<Published> {
        let publisher = self.publisher.take().expect("it runs");
        until("the last ring to be there and enough to be published", || {
            self.witness.look(&self.pipeline.rings());
            let total: u64 = self.witness.published().iter().map(Published::total).sum();
            self.witness.published_by(publisher.id()).is_some_and(|ring| ring.total() > 0) && total > DOTS_MIN
        });
        let last = Published::parse(&publisher.terminate());
        let published = self.witness.published();
        assert!(published.contains(&last), "the ring says the same as its process: {last:?}");
        published
    }
}

/// Shows P22 and P25.
#[test]
fn whoever_is_killed_every_dot_is_stored_once_or_counted() {
    let kills: u64 =
        std::env::var("DOTTER_KILLS").map_or(KILLS, |text| text.parse().expect("DOTTER_KILLS is a number"));
    let mut dice = Dice::new();
    let workload = Workload {
        lanes: LANES,
        dots: 1 << 32,
        series: 41,
        rate: Some(100_000),
        lane_dots: 1_000_000,
        hold: false,
    };
    let mut world = World::start(workload);
    let parts = [Part::Publisher, Part::Broker, Part::Collector, Part::Displayer];
    let (mut killed, mut added) = (0, 0);
    while killed < kills {
        // The instants are what this test is about, so they come from the dice and from nothing else.
        sleep(dice.moment(Duration::from_millis(700)));
        let part = *dice.pick(&parts);
        world.kill(part);
        killed += 1;
        while dice.one_in(5) {
            world.launch(part);
            sleep(dice.moment(Duration::from_millis(60)));
            world.kill(part);
            killed += 1;
        }
        sleep(dice.moment(Duration::from_millis(200)));
        world.add(added);
        added += 1;
        world.start_again(part);
    }
    let published = world.end_publishing();
    until("all rings to be drained, finished and removed", || world.pipeline.rings().is_empty());

    let mut store = world.pipeline.store();
    let snapshot = store.now();
    let sums = check_ledger(snapshot.ledger(), &published);
    assert_eq!(snapshot.ledger().iter().count(), published.len(), "the store has heard of no other rings");
    let read = check_dots(&snapshot, &world.workload, &published);
    println!("{killed} kills, {sums:?}, {:?}", snapshot.stat());
    drop(snapshot);
    until("a compaction", || {
        let stat = store.now().stat();
        stat.segments > 0 && stat.levels.iter().any(|level| level.level > 0)
    });
    assert_eq!(
        check_dots(&store.now(), &world.workload, &published),
        read,
        "dots before and after compaction"
    );
    for number in 0..added {
        let dots = store.dots(added_name(number).as_str());
        assert!(
            dots.iter().map(|dot| dot.value).eq((0..ADDED).map(|n| n as f64)),
            "transaction {number}: {dots:?}"
        );
    }
    let fresh = one_fresh_dot(&world.pipeline, &mut store);
    println!(
        "{killed} kills, {sums:?}, slowest restart of the collector {:?}, a dot afterwards took {fresh:?}\n{:?}",
        world.slowest_restart,
        store.now().stat()
    );

    world.pipeline.broker.take().expect("it runs").terminate();
    world.pipeline.collector.take().expect("it runs").terminate();
    world.pipeline.displayer.take().expect("it runs").terminate();
    world.pipeline.ask_store(&["verify"]);
    check_told(&world.pipeline, sums);
}

fn added_name(number: u64) -> SeriesName {
    SeriesName::new(&format!("added.{number}")).expect("it is a good name")
}

/// `dotter-store` tells the same, the ring of the fresh dot apart.
fn check_told(pipeline: &Pipeline, sums: Sums) {
    let told = |arguments: &[&str]| -> Value {
        let text = pipeline.ask_store(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    };
    let ledger = told(&["ledger", "--json"]);
    let rings: Vec<&Value> = ledger["rings"]
        .as_array()
        .expect("rings are a list")
        .iter()
        .filter(|ring| ring["application"] == "load")
        .collect();
    assert!(rings.iter().all(|ring| ring["balanced"] == true), "{ledger}");
    let sum =
        |what: &str| rings.iter().map(|ring| ring[what].as_u64().expect("counts are whole")).sum::<u64>();
    let (published, stored) = (sum("published"), sum("stored"));
    assert_eq!(
        sums,
        Sums { rings: rings.len(), published, stored, lost: sum("lost"), refused: sum("refused") }
    );
    let levels = told(&["stat", "--json"])["levels"].take();
    assert!(
        levels.as_array().is_some_and(|levels| levels.iter().any(|level| level["level"] != 0)),
        "{levels}"
    );
}

/// Publishes a dot and waits until a reader of the page would see it, which may take two seconds.
fn one_fresh_dot(pipeline: &Pipeline, store: &mut Store) -> Duration {
    let publisher = Publisher::create(pipeline.ring(), 5_000).expect("the place of the ring is free");
    let series = publisher.series("fresh").expect("there is room for a series");
    let start = Instant::now();
    series.dot(7.0);
    until("the fresh dot in the store", || store.dots("fresh").len() == 1);
    until("the fresh dot in the displayer", || {
        let answer = get(pipeline.displayer_address(), "/render?target=fresh&from=-1h&format=json");
        answer.is_some_and(|answer| answer.status == 200 && answer.body.contains("7.0"))
    });
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "a fresh dot took {took:?}");
    took
}
