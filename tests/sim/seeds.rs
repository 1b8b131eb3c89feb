//! Many seeds, each a small world of its own; and what they reached together.

use crate::states::States;
use crate::world::{Plan, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many seeds a run has, unless `BRIDGEHEAD_SEEDS` says otherwise.
const SEEDS: u64 = 240;

fn run(seed: u64, verbose: bool) -> States {
    let plan = Plan::of(seed, verbose);
    let mut world = World::new(&plan);
    world.net.note(|| format!("{plan:?}"));
    world.stage();
    world.run(Duration::from_secs(30));
    world.note_counters();
    world.finish();
    world.net.states.clone()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seed_keeps_its_promises_and_together_they_reach_every_state() {
    if let Some(seed) = number("BRIDGEHEAD_SEED") {
        println!("{}", run(seed, true));
        return;
    }
    let seeds = number("BRIDGEHEAD_SEEDS").unwrap_or(SEEDS);
    let (next, states, failed) = (AtomicU64::new(0), Mutex::new(States::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    if let Ok(reached) = catch_unwind(AssertUnwindSafe(|| run(seed, false))) {
                        states.lock().expect("no panic holds it").add(&reached);
                    } else {
                        eprintln!(
                            "replay with: BRIDGEHEAD_SEED={seed} cargo test --test sim -- --nocapture seed"
                        );
                        failed.lock().expect("no panic holds it").push(seed);
                    }
                }
            });
        }
    });
    let (states, failed) = (states.into_inner().expect("done"), failed.into_inner().expect("done"));
    println!("{seeds} seeds reached:\n{states}");
    assert!(
        failed.is_empty(),
        "seeds {failed:?} failed; BRIDGEHEAD_SEED={} cargo test --test sim",
        failed[0]
    );
    assert!(states.missed().is_empty() || seeds < SEEDS, "never reached: {:?}", states.missed());
}
