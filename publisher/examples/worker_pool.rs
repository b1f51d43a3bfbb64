//! A pool of workers, each with a lane of its own: how long a job took, how many are waiting, what was done.
//! `cargo run --example worker_pool`. Every process of it would be another instance.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Instant;

use dotter_publisher::Publisher;

const WORKERS: usize = 4;
const JOBS: u64 = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let instance = std::env::args().nth(1).unwrap_or_else(|| "worker-1".to_owned());
    let publisher = Publisher::open("worker-pool")?.instance(&instance);
    let waiting = publisher.series("pool.waiting")?.unit("jobs");
    let done = publisher.counter("pool.done")?;
    let (jobs, queue) = mpsc::channel::<u64>();
    let queue = Mutex::new(queue);
    println!("publishing to {}", publisher.path().display());

    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (publisher, queue, done) = (&publisher, &queue, &done);
            scope.spawn(move || -> Result<(), dotter_publisher::Error> {
                let time = publisher.series(&format!("pool.time;worker={worker}"))?.unit("us");
                // For a thread that publishes much: spares it the look for its lane.
                let mut lane = publisher.lane()?;
                loop {
                    let Ok(Ok(job)) = queue.lock().map(|queue| queue.recv()) else { return Ok(()) };
                    let start = Instant::now();
                    std::hint::black_box((0..job).fold(job, |sum, n| sum.wrapping_mul(31).wrapping_add(n)));
                    lane.dot(&time, start.elapsed().as_nanos() as f64 / 1e3);
                    done.count(1);
                }
            });
        }
        for job in 0..JOBS {
            waiting.dot((JOBS - job) as f64);
            // No worker left to take it: they have ended, and said nothing that could be told here.
            if jobs.send(job * 100).is_err() {
                break;
            }
        }
        drop(jobs);
    });
    println!("{} jobs done, {} dots published", done.total(), publisher.published().iter().sum::<u64>());
    Ok(())
}
