//! Publishers in containers: with users, processes and mounts of their own. The ring lies on a volume that they share
//! with the broker outside, which cannot see their processes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dotter_e2e::oracle::{Witness, Workload, check_dots, check_ledger};
use dotter_e2e::{Pipeline, Process, program, until};

const LANES: u32 = 2;
/// How long a dead owner's heads stand still before a broker that cannot see the process takes it for dead.
const STILL: Duration = Duration::from_secs(2);

fn workload() -> Workload {
    Workload { lanes: LANES, dots: 1 << 32, series: 5, rate: Some(2_000), lane_dots: 100_000, hold: false }
}

/// A publisher as the first process of its container.
fn contained(ring: &Path) -> Process {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]);
    command.arg(program("dotter-publisher")).arg("load").arg(ring).args(workload().arguments());
    Process::start(&mut command)
}

#[test]
fn a_publisher_in_a_container_is_read_while_it_lives_and_finished_when_it_was_killed() {
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    pipeline.start_broker();
    let container = contained(pipeline.ring());
    let mut witness = Witness::new(LANES);
    // Longer than a dead one would have been given.
    let wanted = 2 * LANES as u64 * 2_000 * STILL.as_secs();
    until("dots of more than the time a dead owner is given", || {
        witness.look(&pipeline.rings());
        witness.published().iter().any(|ring| ring.total() > wanted)
    });
    let mut store = pipeline.store();
    let incarnation = witness.published()[0].incarnation;
    until("dots of the living container in the store", || {
        store.account(incarnation).is_some_and(|account| account.stored() > wanted / 2)
    });
    assert_eq!(store.account(incarnation).and_then(|account| account.finished), None, "its owner is alive");

    container.kill();
    let account = store.finished(incarnation);
    witness.look(&pipeline.rings());
    let published = witness.published();
    assert_eq!(published.len(), 1);
    let sums = check_ledger(store.now().ledger(), &published);
    assert_eq!((sums.lost, sums.refused), (0, 0));
    assert!(account.stored() > wanted);
    assert_eq!(check_dots(&store.now(), &workload(), &published), sums.stored);
    until("the drained ring goes", || pipeline.rings().is_empty());
}
